"""The report of a study: an HTML page that loads nothing from elsewhere, and the same tables as Markdown.

For other folders:
    data: arm_at, Curve, FailedRun, ReportArm, ReportBars, ReportComparison, ReportGap, StudyReport
    page: write_study_report
"""
