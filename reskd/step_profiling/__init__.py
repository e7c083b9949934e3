"""How fast a training step is, what it waits for, and where its time goes.

For other folders:
    rates: measure_rates
    report: describe_rates, measure_peak_flops, rows_of
    setup: speed_run
    trace: profile_steps
"""
