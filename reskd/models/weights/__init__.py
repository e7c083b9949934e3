"""Weights from files: reads them, translates names, fills a model strictly, reports every tensor.

For other folders:
    architectures: describe, num_classes_of, recognize
    files: read_weight_file, WeightFile, why_unread, write_safetensors
    load: fit_file, load_recognizer_state, load_weights, state_hash
    names: rename
    torch_digest: find_damage, save_with_digest
"""
