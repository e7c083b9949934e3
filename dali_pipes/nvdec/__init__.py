"""What a GPU's video decoder (NVDEC) can decode, and what was proven on this machine.

For other folders:
    abilities: NOT_ASKED, Nvdec, SURE_CODECS
    driver: name_of_gpu
    verdicts: keep_rates, keep_verdicts, kept_rates, nvdec_of
"""
