"""What examples prove: bounds on a loss of score, on a score, and on what a sequence of tries shows; no torch."""

from netsmith.certificates.bootstrap import bootstrap_bound, mean_bound, resampled_bound
from netsmith.certificates.certificate import Certificate, asked_for, certificate, few_of
from netsmith.certificates.latency import latency_interval, sessions_confidence
from netsmith.certificates.metric import around, changed, lost_at_most, surely_reached, with_as_many
from netsmith.certificates.needed import needed_examples
from netsmith.certificates.paired import paired_bound
from netsmith.certificates.score import score_bound, score_interval
from netsmith.certificates.sequence import fixed_sequence

__all__ = [
    "Certificate", "around", "asked_for", "bootstrap_bound", "certificate", "changed", "few_of", "fixed_sequence",
    "latency_interval", "lost_at_most", "mean_bound", "needed_examples", "paired_bound", "resampled_bound",
    "score_bound", "score_interval", "sessions_confidence", "surely_reached", "with_as_many",
]  # fmt: skip
