# make train   set up .venv for segmentation and classification, train the
#              main job
# make test    complete .venv (compiled mmcv ops, mmdet) and run the tests
# make test-official
#              the same tests on the official stack, in .venv-official
# make lint    check the style
# make docs    build the site of docs/ in docs/_build/html
# make pictures
#              make the pictures of the README again
# make clean   remove the environments and the site
#
# .venv/stamps marks the finished steps: a repeat skips them, a step that was
# broken off is done again, and a change of constraints.txt or setup.py brings
# the environment up to date. Variables, e.g. `make train ARGS=--resume`:

# config that `make train` trains
CONFIG ?= configs/rgbd_seg_mwam.py
# more flags for tools/train.py (make train) or pytest (make test)
ARGS ?=
# OpenMMLab's packages: maintained (the onedl-* forks) or official
STACK ?= maintained
# interpreter that the environment is made with
PYTHON ?= $(shell command -v python3.11 || echo python3)
# compiler processes at a time, each of up to 2 GB
MAX_JOBS ?= $(shell nproc 2>/dev/null || echo 2)
# where the compiled mmcv is kept; outside .venv it serves other checkouts too
WHEELS ?= $(VENV)/wheels

ifeq ($(STACK),official)
VENV := .venv-official
CONSTRAINTS := constraints-official.txt
PYTHONS := 3.11
SEG := -e '.[fast]' mmengine mmcv mmsegmentation ftfy regex
DET := -e '.[fast,tests]' mmdet
MMCV := mmcv
# what its setup.py imports besides
BUILD_NEEDS := psutil
else
VENV := .venv
CONSTRAINTS := constraints.txt
PYTHONS := 3.11, 3.12, 3.13
SEG := -e '.[cls,fast,seg]'
DET := -e '.[cls,det,fast,tests]'
MMCV := onedl-mmcv
endif
STAMPS := $(VENV)/stamps
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
# isolated builds are held to the tested versions as well
INSTALL := $(PIP) install -c $(CONSTRAINTS) --build-constraint $(CONSTRAINTS)
TRY_OPS := $(PY) -c 'import torch; from mmcv.ops import nms; \
	nms(torch.rand(2, 4), torch.rand(2), 0.5)'
PIP_FAILED := echo 'make: pip failed, see above: with its network and settings \
	in order, run make again, it goes on from here' >&2; exit 1

.PHONY: train test test-official lint docs pictures clean

# docs/setups.md, On a CPU
train pictures: export MALLOC_MMAP_MAX_ = 0
train pictures: export MALLOC_TRIM_THRESHOLD_ = -1

train: $(STAMPS)/seg
	$(PY) tools/train.py $(CONFIG) $(ARGS)

test: $(STAMPS)/det
	$(PY) -m pytest -n auto $(ARGS)

test-official:
	@$(MAKE) test STACK=official

lint: $(STAMPS)/lint
	$(VENV)/bin/ruff check .

docs: $(STAMPS)/docs
	$(PY) -m sphinx -W --keep-going -b html docs docs/_build/html

pictures: $(STAMPS)/seg
	$(PY) tools/misc/make_pictures.py

clean:
	rm -rf .venv .venv-official docs/_build

$(STAMPS)/venv: $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; \
		version = "%d.%d" % sys.version_info[:2]; \
		sys.exit(version not in "$(PYTHONS)".split(", "))' || { \
		echo 'make: needs Python $(PYTHONS), which $(PYTHON) is not: name' \
			'one by make PYTHON=/path/to/python3.11' >&2; exit 1; }
	@echo '== $(VENV)'
	@$(PYTHON) -m venv $(VENV) || { \
		echo 'make: could not create $(VENV): the venv module of $(PYTHON)' \
			'is needed (Debian, Ubuntu: apt install python3-venv)' >&2; \
		exit 1; }
	@$(PIP) install -c $(CONSTRAINTS) pip || { $(PIP_FAILED); }
	@mkdir -p $(STAMPS) && touch $@

# pip builds mmcv in isolation, that is without torch: no op is compiled
$(STAMPS)/seg: $(STAMPS)/venv setup.py
	@echo '== segmentation stack'
	@$(INSTALL) $(SEG) || { $(PIP_FAILED); }
	@$(PY) -c 'import cv2, mmengine, mmcv, mmseg' || { \
		echo 'make: the segmentation stack does not import, see above; if' \
			'libGL or libgthread is missing: apt install libgl1' \
			'libglib2.0-0' >&2; exit 1; }
	@touch $@

# With torch at hand mmcv compiles its ops. pip's cache does not tell the two
# builds apart and so stays out of it. While mmcv is being replaced, the step
# that installed it does not count as done.
$(STAMPS)/ops: $(STAMPS)/seg
	@$(TRY_OPS) 2>/dev/null || { \
	echo '== compiled ops of mmcv: about 10 minutes on 2 cores' && \
	rm -f $(STAMPS)/seg && \
	$(INSTALL) ninja packaging setuptools wheel $(BUILD_NEEDS) && \
	MAX_JOBS=$(MAX_JOBS) $(PIP) wheel -c $(CONSTRAINTS) \
		--no-build-isolation --no-cache-dir --no-deps \
		--find-links $(WHEELS) -w $(WHEELS) $(MMCV) && \
	$(PIP) install -c $(CONSTRAINTS) --no-deps --force-reinstall \
		--no-index --find-links $(WHEELS) $(MMCV) && \
	touch $(STAMPS)/seg; } || { \
		echo 'make: could not compile the ops of mmcv, see above. It needs' \
			'a C++ compiler (apt install g++), the headers of Python' \
			'(python3-dev) and memory: try make test MAX_JOBS=1. With a' \
			'GPU it needs nvcc, in the CUDA version of torch;' \
			'CUDA_VISIBLE_DEVICES= make test compiles for the CPU' >&2; \
		exit 1; }
	@$(TRY_OPS) || { \
		echo 'make: the ops of mmcv do not work, see above: remove the' \
			'wheel of mmcv from $(WHEELS) to compile it anew, and run' \
			'make again' >&2; exit 1; }
	@touch $@

$(STAMPS)/det: $(STAMPS)/ops
	@echo '== mmdet and the test tools'
	@$(INSTALL) $(DET) || { $(PIP_FAILED); }
	@$(PY) -c 'import mmdet.models' || { \
		echo 'make: mmdet does not import, see above; make clean test' \
			'builds the environment anew' >&2; exit 1; }
	@touch $@

# The reference describes the detectors' parts as well.
$(STAMPS)/docs: $(STAMPS)/det
	@$(INSTALL) -e '.[docs]' || { $(PIP_FAILED); }
	@touch $@

$(STAMPS)/lint: $(STAMPS)/venv
	@$(INSTALL) ruff || { $(PIP_FAILED); }
	@touch $@
