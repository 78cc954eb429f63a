"""One search: a problem, one strategy, one evaluator, a log; and the loop that closes on the device."""
