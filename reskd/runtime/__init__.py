"""How networks run on their device, apart from what they compute: compilation, CUDA graphs, TF32, batch norm of ranks.

For other folders:
    config: RuntimeConfig
    prepare: choose_kernels, prepare_networks
"""
