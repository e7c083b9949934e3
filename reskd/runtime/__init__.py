"""How networks run on their device, apart from what they compute: compilation, CUDA graphs, TF32, clocks of a step.

For other folders:
    config: RuntimeConfig
    phases: PHASES, PhaseClock
    prepare: choose_kernels, prepare_networks
    step_clock: StepClock
"""
