"""The analysis service: its verbs by name."""

from syntrial.analysis.report import write_report

METHODS = {"WriteReport": write_report}
"""The verbs of `syntrial.v1.AnalysisService`."""
