"""Pages and pictures for people: a run, a data set, a student's answers, the demo's videos.

For other folders:
    answer_pictures: draw_answers
    answers: Answers, write_answers
    contact_sheet: draw_contact_sheet, MAX_ROWS, SheetRow
    dataset_report: class_folders, VideoSet, write_data_page
    demo_preview: draw_preview
    odd_names: in_markdown
    run_report: check_comparable, draw_curves, read_metrics, read_result, render_comparison, write_run_report
"""
