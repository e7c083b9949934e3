"""Writing videos anew so that they decode faster: smaller, upright, with many keyframes.

For other folders:
    cost_estimate: describe_prediction, predict
    encode: DEFAULT_QUALITY, OutputSettings
    job
    journal: journal_path, Record
"""
