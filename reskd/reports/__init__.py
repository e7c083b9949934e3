"""Pages and pictures for people: a run, a data set, a student's answers, the demo's videos.

For other folders:
    answer_pictures: calibration_chart, confusion_chart, confusion_of, draw_answers
    answers: Answers, write_answers
    contact_sheet: draw_contact_sheet, MAX_ROWS, SheetRow
    demo_preview: draw_preview
    run_report: check_comparable, describe_views, draw_curves, find_result, load_result, METRIC_TITLES, read_metrics,
        read_result, render_comparison, show_metric, with_own_names, write_run_report
    thumbnails: thumbnail_of
"""
