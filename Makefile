# Everything a newcomer types. Needs python3 (3.11 or later), make and git; the rest is fetched.

VENV   := .venv
PYTHON := python3
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check
STAMPS := $(VENV)/stamps

# A set-up that failed half way is done again, not taken for finished.
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

.PHONY: help
help: ## show this list
	@echo "make run and make test set up all they need; the second call is quick."
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: $(STAMPS)/run ## run the demo station: three cameras, no broker, page at http://127.0.0.1:8787/
	@$(BIN)/inspector run configs/demo.yaml

.PHONY: test
test: $(STAMPS)/test ## run the tests, with a real Kafka broker and real RTSP servers
	$(BIN)/pytest -m "not slow" $(ARGS) || bash tools/second_look.sh $$? $(ARGS)

.PHONY: test-slow
test-slow: $(STAMPS)/test ## run the long tests: soaks, the bundle on a box without network
	$(BIN)/pytest -m slow $(ARGS)

.PHONY: line-soak
line-soak: $(STAMPS)/test ## signal 10,000 parts at 20 a second to the PLC simulator, none without its answer
	$(BIN)/pytest -n 0 -s -m slow tests/line/test_soak.py $(ARGS)

.PHONY: lint
lint: $(STAMPS)/dev ## check style
	$(BIN)/ruff check
	$(BIN)/ruff format --check

.PHONY: format
format: $(STAMPS)/dev ## put the code into shape
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: types
types: $(STAMPS)/dev ## check types
	$(BIN)/mypy

.PHONY: wheel
wheel: $(STAMPS)/build ## build the wheel into dist/
	rm -f dist/*.whl
	$(BIN)/python -m build --wheel --no-isolation

# --- a station on a box: one folder that needs no network, and what is made of it ----------------

VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' inspector/__init__.py)
BUNDLE  := build/inspector-$(VERSION)
SHIPPED := $(shell find inspector engines systemd configs docs -type f ! -name '*.pyc' 2>/dev/null) \
	tools/bundle.sh tools/bundle_docs.sh tools/install.sh requirements/run.txt requirements/install.txt \
	pyproject.toml LICENSE

.PHONY: bundle
bundle: $(BUNDLE)/SHA256SUMS ## pack all that a box without network needs into dist/
	@mkdir -p dist
	tar -C build --owner 0 --group 0 -czf \
		dist/inspector-$(VERSION)-py$$(sed 's/ /-/' $(BUNDLE)/made-for).tar.gz $(notdir $(BUNDLE))
	@ls -sh dist/inspector-$(VERSION)-py*.tar.gz

.PHONY: install
install: $(BUNDLE)/SHA256SUMS ## install the station on this box, or upgrade it; PREFIX=/usr/local DESTDIR=
	@PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" sh $(BUNDLE)/install.sh

.PHONY: uninstall
uninstall: ## take it away again; configuration and state stay
	@PREFIX="$(PREFIX)" DESTDIR="$(DESTDIR)" sh tools/install.sh --uninstall

$(BUNDLE)/SHA256SUMS: $(SHIPPED) | $(STAMPS)/build
	@sh tools/bundle.sh $(BIN)/python $(BUNDLE)

.PHONY: docs
docs: $(STAMPS)/dev ## write the reference in docs/configuration.md anew from the models
	$(BIN)/python tools/configuration_reference.py

.PHONY: bench
bench: $(STAMPS)/run ## measure the shipped engine on this machine
	$(BIN)/inspector engines bench simplenet

# The locks name no index: whoever installs decides where packages come from. Versions that are locked
# stay while they fit; make lock UPGRADE=--upgrade takes the newest, UPGRADE="-P NAME" of one package.
UV      := build/uv/bin/uv
UPGRADE :=
LOCK    = $(UV) pip compile --universal --generate-hashes --python-version 3.11 --quiet \
	--no-emit-index-url --no-emit-find-links --no-header $(UPGRADE)

.PHONY: lock
lock: | $(UV) ## resolve the requirements anew, with uv, which is fetched for it
	$(LOCK) pyproject.toml --extra dev --extra train -o requirements/dev.txt
	$(LOCK) pyproject.toml -c requirements/dev.txt -o requirements/run.txt
	$(LOCK) pyproject.toml -c requirements/dev.txt --extra train -o requirements/train.txt
	$(LOCK) -c requirements/dev.txt --group build -o requirements/build.txt
	$(LOCK) --group install -o requirements/install.txt
	for group in nvidia-old nvidia-10 nvidia-11 nvidia-source; do \
		$(LOCK) --no-deps --group $$group -o requirements/$$group.txt; done

build/uv/bin/uv:
	@$(PYTHON) -m venv build/uv
	@build/uv/bin/python -m pip --disable-pip-version-check install --quiet "uv>=0.8,<1"

.PHONY: clean
clean: ## remove the environment and everything made here
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis .cache

# --- set-up; each stamp is one finished step ---------------------------------------------------

$(BIN)/python:
	@sh tools/make-venv.sh $(PYTHON) $(VENV)

$(STAMPS)/run: requirements/run.txt tools/link-checkout.sh | $(BIN)/python
	@echo "Installing what the station needs (a download of 180 MB)"
	$(PIP) install --require-hashes --only-binary :all: --progress-bar on -r requirements/run.txt
	@sh tools/link-checkout.sh $(VENV)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/build: requirements/build.txt | $(BIN)/python
	$(PIP) install --require-hashes --quiet -r requirements/build.txt
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/dev: requirements/dev.txt $(STAMPS)/run
	@echo "Installing what tests and training need (a download of about 3 GB, most of it PyTorch)"
	$(PIP) install --require-hashes --progress-bar on -r requirements/dev.txt
	@touch $@

$(STAMPS)/apt: tests/apt.txt tools/apt-get.sh | $(BIN)/python
	@sh tools/apt-get.sh $$(sed "s/#.*//" tests/apt.txt)
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/kafka: tests/servers/kafka.py $(STAMPS)/dev $(STAMPS)/apt
	@echo "Fetching Apache Kafka for the tests (44 MB)"
	$(BIN)/python -m tests.servers.kafka --fetch
	@touch $@

$(STAMPS)/nvidia: tests/engine/nvidia/libraries.py $(wildcard requirements/nvidia-*.txt) \
		$(STAMPS)/dev $(STAMPS)/apt
	@echo "Fetching NVIDIA's Python bindings for the tests (52 MB)"
	$(BIN)/python -m tests.engine.nvidia.libraries
	@touch $@

$(STAMPS)/wheels: requirements/run.txt requirements/install.txt tools/bundle.sh | $(STAMPS)/build
	@sh tools/bundle.sh $(BIN)/python $(BUNDLE)
	@touch $@

$(STAMPS)/test: $(STAMPS)/dev $(STAMPS)/apt $(STAMPS)/kafka $(STAMPS)/wheels $(STAMPS)/nvidia
	@touch $@
