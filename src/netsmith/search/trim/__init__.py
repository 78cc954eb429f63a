"""Step-wise trimming: NetAdapt, CompactNet and the family of networks that they leave."""
