"""Other people's code in a config: networks, loss terms, metrics and loggers, by file, module or installed name.

For other folders:
    config: MadeByCode, PlainName
    locate: called_name, check_location, find, make, reason_of
    loggers: Loggers
    metrics: compute_metrics
    trust: check_trusted
"""
