# Two images from one file:
#   docker build -t reskd .                     CUDA 12.6, torch 2.6, NVIDIA's apex: Volta (V100, sm_70) to Hopper
#   docker build -t reskd:cuda13 --build-arg BASE=nvcr.io/nvidia/pytorch:25.12-py3 --build-arg CUDA=cuda13 --build-arg ARCH=sm_90 .
#                                               CUDA 13.1, torch 2.10: Turing to Blackwell; drivers from 580 on
# Run: docker run --rm --gpus all --shm-size=8g -v "$PWD/data:/app/data" -v "$PWD/runs:/app/runs" reskd reskd doctor
# To build the same image for years, name the base by its digest: `docker buildx imagetools inspect BASE` prints it.
#
# Why 24.12: it is NVIDIA's last PyTorch image before Volta was dropped. The 25.01 release notes of the same image family
# ask for compute capability 7.5
# (docs.nvidia.com/deeplearning/triton-inference-server/release-notes/rel-25-01.html, "GPU Requirements"), the 24.x notes
# for 6.0 (same site, rel-24-01.html). It holds CUDA 12.6, Python 3.12, PyTorch 2.6.0a0+df5bbc09d1 and NVIDIA's apex.
# The notes of PyTorch 24.12 itself were not at hand, so the build below checks sm_70 and apex and stops without them.
# Why 25.12: CUDA 13.1.0, Python 3.12, PyTorch 2.10.0a0+b4e4ee81d3
# (docs.nvidia.com/deeplearning/frameworks/pytorch-release-notes/rel-25-12.html). Neither image was built by us yet.
ARG BASE=nvcr.io/nvidia/pytorch:24.12-py3
FROM ${BASE}
ARG CUDA=cuda12
ARG ARCH=sm_70

# video: the container sees libnvcuvid (NVDEC). The image's Python is the system's, hence the second line. The third
# drops the image's own list of versions (since 25.03), which would keep DALI at the image's release.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility,video \
    PIP_BREAK_SYSTEM_PACKAGES=1 \
    PIP_CONSTRAINT= \
    PYTHONUNBUFFERED=1

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
WORKDIR /app

# torch, torchvision and numpy stay as NVIDIA built them, for each other and for apex. torch is a pre-release of 2.6, so
# pip would call "torch>=2.6" unmet: it is left out of the list here and the project is installed with --no-deps below.
# The list is made from the table of tested versions; DALI moves from the image's 1.44 to the tested release.
COPY requirements/build.txt requirements/constraints.txt requirements/
COPY reskd/environment.py reskd/environment.py
RUN pip list --format=freeze | grep -iE '^(torch|torchvision|pytorch-triton|numpy)==' > /tmp/constraints.txt \
    && python -c "import runpy, sys; e = runpy.run_path('reskd/environment.py'); r = e['requirements']; print(*r(without=('torch', 'torchvision')), *r(e['TESTED_FOR_TRAINING']), *r(e['TESTED_BY_CUDA'][sys.argv[1]]), sep='\n')" "${CUDA}" \
        > /tmp/requirements.txt \
    && pip install --no-cache-dir -c /tmp/constraints.txt -c requirements/constraints.txt -r requirements/build.txt -r /tmp/requirements.txt \
    && pip list --format=freeze | grep -iE '^(torch|torchvision|pytorch-triton|numpy)==' | diff /tmp/constraints.txt - \
    && rm /tmp/constraints.txt /tmp/requirements.txt

# torch.cuda.get_arch_list() is empty on a machine that builds without a GPU; the flags behind it are not.
# amp_C is a compiled part of NVIDIA's apex: the package of that name on the Python index does not have it.
RUN python -c "import sys, torch; flags = torch._C._cuda_getArchFlags(); assert sys.argv[1] in flags.split(), flags" "${ARCH}" \
    && if [ "${CUDA}" = cuda12 ]; then python -c "import torch, amp_C; from apex.optimizers import FusedSGD"; fi

COPY . .
RUN RESKD_BUILD=cuda pip install --no-cache-dir --no-deps --no-build-isolation -e . \
    && useradd --uid 10001 --create-home --shell /bin/bash reskd \
    && mkdir -p data runs \
    && chown -R 10001:10001 data runs
USER 10001

CMD ["reskd", "doctor"]
