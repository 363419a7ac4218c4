"""The verb WriteReport: reads a trial's artifacts, makes the verdict and writes the report.

Thin wiring: `reading.py` reads, `findings.py` and `qualify.py` compute, `page.py` draws.
"""

from syntrial.analysis.findings import trial_findings
from syntrial.analysis.galleries import (
    class_galleries,
    copy_gallery,
    finding_gallery,
    leak_gallery,
    reconstruction_gallery,
    rejected_galleries,
    snapshot_galleries,
)
from syntrial.analysis.page import render_page
from syntrial.analysis.qualify import qualifications
from syntrial.analysis.reading import read_trial
from syntrial.rpc.context import StepContext
from syntrial.v1.analysis_pb2 import WriteReportRequest


def write_report(request: WriteReportRequest, context: StepContext) -> None:
    """Write member `report`: `report.json` (schema in `findings.py`) and `report.html`, self-contained.

    Raises ValueError for a request against the rules (cells on different test images, not one primary comparison),
    UserError for predictions that cannot be judged, ArtifactMissing and DataLoss from the store.
    """
    data = read_trial(request, context=context)

    def progress(done: int, total: int) -> None:
        context.progress(done, total=total, unit="tables", activity="comparing arms")

    report = trial_findings(data, progress=progress)
    report["qualifications"] = qualifications(data, report=report)
    page, figures = render_page(
        report,
        galleries=class_galleries(data),
        rejected=rejected_galleries(data),
        copies=copy_gallery(data),
        reconstructions=reconstruction_gallery(data),
        snapshots=snapshot_galleries(data),
        leaks=leak_gallery(data),
        findings=finding_gallery(data),
    )
    report["figures"] = figures
    context.output.json("report", "report.json", report)
    context.output.write("report", "report.html", page.encode())
