# Two commands for people: `make demo` and `make test`. Each sets up what it needs.

PYTHON ?= python3
VENV ?= .venv
ADDONS_VENV ?= .venv-addons
# tensorflow-addons has wheels for Python 3.10 and 3.11 only.
ADDONS_PYTHON ?= $(shell for p in $(PYTHON) python3.11 python3.10; do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 10), (3, 11)))' 2>/dev/null \
	&& echo $$p && break; done)

# The test files are shared among this number of processes. Each takes up to 3 GiB.
TEST_PROCESSES ?= 2
# `make test-addons` runs the tests that depend on TensorFlow or Keras; with TESTS=all, every test.
TESTS ?= stack
PYTEST = -m pytest -n $(TEST_PROCESSES) --dist=loadfile

DEMO_SIZE ?= 32x56
DEMO_CARDS ?= 5000
# The share of the cards that is not trained on; what was trained is measured against them.
DEMO_HOLDOUT ?= 0.2
DEMO_KIMG ?= 34
DEMO_MINUTES ?= 6
DEMO_SAMPLES ?= 1000
DEMO_DATA ?= data/cards-$(DEMO_SIZE)-$(DEMO_CARDS).zip
DEMO_RUN ?= runs/demo
DEMO_MODEL ?= models/demo
DEMO_PORT ?= 8500
DEMO_REST_PORT ?= 8501

# What `make check` leaves out.
SLOW = not slow and not workers and not browser

.PHONY: demo export-demo serve-demo test test-addons test-sanitized check checked-code lint \
	types docs dist \
	clean-demo ops ops-addons

demo: $(VENV)/installed ops $(DEMO_DATA)
	$(VENV)/bin/tf-sg2 train --run=$(DEMO_RUN) --preset=cards --data=$(DEMO_DATA) \
		--data.holdout=$(DEMO_HOLDOUT) --training.total_kimg=$(DEMO_KIMG) \
		--stop_after_minutes=$(DEMO_MINUTES) || \
		test $$? -eq 75  # The time limit stopped the run, which has pictures and can be resumed.
	$(VENV)/bin/tf-sg2 generate --run=$(DEMO_RUN) --seeds=0-31 --truncation_psi=0.7 --grid \
		--columns=8 --out=$(DEMO_RUN)/generated.png
	$(VENV)/bin/tf-sg2 interpolate --run=$(DEMO_RUN) --seeds=0-3 --frames=48 \
		--out=$(DEMO_RUN)/interpolation.gif
	$(VENV)/bin/tf-sg2 evaluate --run=$(DEMO_RUN) --metrics=fd,pr --samples=$(DEMO_SAMPLES) \
		--allow_few_samples
	$(VENV)/bin/tf-sg2 report --run=$(DEMO_RUN) --most_real=500
	@echo
	@echo "Pictures:        $(DEMO_RUN)/generated.png  $(DEMO_RUN)/interpolation.gif"
	@echo "                 $(DEMO_RUN)/samples/ (training, next to the real cards)"
	@echo "Report:          file://$(abspath $(DEMO_RUN))/report.html"
	@echo "Run directory:   $(DEMO_RUN)"
	@echo "TensorBoard:     $(VENV)/bin/tensorboard --logdir $(DEMO_RUN)"

$(DEMO_DATA): | $(VENV)/installed
	mkdir -p $(dir $@)
	$(VENV)/bin/tf-sg2 cards --out=$@ --count=$(DEMO_CARDS) --seed=1 --size=$(DEMO_SIZE)

# The demo's run as version 1 of a model that can be served.
export-demo: $(DEMO_MODEL)/1

$(DEMO_MODEL)/1: | $(VENV)/installed
	@test -f $(DEMO_RUN)/config.json || $(MAKE) demo
	$(VENV)/bin/tf-sg2 export --run=$(DEMO_RUN) --out=$(DEMO_MODEL) --version=1 \
		--license='Apache-2.0; trained on drawn cards of invented people'

# Serves it until Ctrl-C. The recipe is one shell, so a signal to it also stops the server.
serve-demo: $(DEMO_MODEL)/1
	@$(VENV)/bin/tf-sg2 serve --model_dir=$(DEMO_MODEL) --port=$(DEMO_PORT) \
		--rest_port=$(DEMO_REST_PORT) & server=$$!; \
	trap 'kill $$server 2>/dev/null' INT TERM; failed=0; \
	$(VENV)/bin/tf-sg2 client generate --server=http://127.0.0.1:$(DEMO_REST_PORT) --wait=120 \
		--seeds=0-15 --psi=0.7 --out=$(DEMO_RUN)/served.png \
	&& printf '\nPage:     http://127.0.0.1:$(DEMO_REST_PORT)/\nPictures: $(DEMO_RUN)/served.png\nCtrl-C stops the server.\n' \
	|| { failed=1; kill $$server 2>/dev/null; }; \
	while kill -0 $$server 2>/dev/null; do wait $$server; done; exit $$failed

clean-demo:
	rm -rf $(DEMO_RUN) $(DEMO_MODEL) $(DEMO_DATA)

# Takes a few seconds if nothing changed. Without a C++ compiler, everything else works without the
# native ops. With CI set, as CI services do, a warning of the compiler is an error.
BUILD_OPS = build-ops --optional $(if $(CI),--warnings_as_errors)

ops: $(VENV)/installed
	$(VENV)/bin/tf-sg2 $(BUILD_OPS)

ops-addons: $(ADDONS_VENV)/installed
	$(ADDONS_VENV)/bin/tf-sg2 $(BUILD_OPS)

test: lint types ops
	$(VENV)/bin/python $(PYTEST)

# TensorFlow 2.15 gets no releases any more, so its warnings are shown and fail no test.
test-addons: $(ADDONS_VENV)/installed ops-addons
	$(ADDONS_VENV)/bin/python $(PYTEST) -W default $(if $(filter all,$(TESTS)),,-m "$(TESTS)")

# The native ops under AddressSanitizer and UndefinedBehaviorSanitizer.
test-sanitized: $(VENV)/installed
	$(VENV)/bin/python tests/custom_ops/run_sanitized.py

# Under 90 seconds on two cores: what to run before each commit.
check: checked-code
	$(VENV)/bin/python $(PYTEST) -m "$(SLOW)"

# At the same time: each uses one core most of the time.
checked-code: $(VENV)/installed
	+@$(MAKE) --no-print-directory --jobs=3 --output-sync=target lint types ops

lint: $(VENV)/installed
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

# The whole package: the links in tf_sg2/ show the four folders under their import names.
types: $(VENV)/installed
	$(VENV)/bin/python -m mypy -p tf_sg2

# The site, in site/. A warning is an error.
docs: $(VENV)/installed-docs
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build --strict

# A source archive and a wheel, in dist/.
dist: $(VENV)/installed
	rm -rf build dist
	$(VENV)/bin/python -m build --no-isolation
	$(VENV)/bin/python -m twine check --strict dist/*

$(VENV)/installed: setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade pip setuptools
	$(VENV)/bin/python -m pip install --quiet -e '.[cards,evaluation,test]'
	touch $@

$(VENV)/installed-docs: $(VENV)/installed
	$(VENV)/bin/python -m pip install --quiet -e '.[docs]'
	touch $@

$(ADDONS_VENV)/installed: setup.py pyproject.toml
	@test -n "$(ADDONS_PYTHON)" || { echo "error: tensorflow-addons needs Python 3.10 or 3.11;" \
		"say make test-addons ADDONS_PYTHON=/path/to/python3.11" >&2; exit 2; }
	$(ADDONS_PYTHON) -m venv $(ADDONS_VENV)
	$(ADDONS_VENV)/bin/python -m pip install --quiet --upgrade pip setuptools
	$(ADDONS_VENV)/bin/python -m pip install --quiet -e '.[addons,cards,test]'
	touch $@
