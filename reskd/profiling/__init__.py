"""The cost of a model: operations, memory, videos per second; and the CSV rows that keep measurements.

For other folders:
    answer_time: FileToScores, measure_answer_time
    flops: count_macs, count_recognizer, MacCount
    measurement_rows: aligned, append_rows, describe_run, quantiles, read_rows, rounded
    reading_cost: measure_reading, of_all_sizes, packets_of_clip, sample_of_list
    resource_estimate: checkpoint_bytes, estimate_memory, make_up_weights, measure_seconds_per_clip
    speed_budget: describe_budget, describe_reading, machine_of, predict_speed, readable_clips_per_second
    throughput: measure_clips_per_second, measure_sizes, Row, Sweep
"""
