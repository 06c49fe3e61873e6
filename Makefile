# Each target makes its own virtual environment from the lock and needs only Python and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test check bench proof quality lock clean

demo: $(STAMP)
	$(BIN)/batchway demo $(ARGS)

test: $(STAMP) .venv-openai2
	$(BIN)/python -m pytest -n 2 $(ARGS)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Peers (nginx, LiteLLM's proxy) only when asked: make bench PEERS=1
bench: $(STAMP)
	$(BIN)/python -m bench $(if $(PEERS),--peers) $(ARGS)

# The slow proofs at full size; `make test` runs each at a small size.
proof: $(STAMP)
	BATCHWAY_PROOF=1 $(BIN)/python -m pytest -n 2 -m proof $(ARGS)

# What fitting and packing cost in quality, and what they save.
quality: $(STAMP)
	$(BIN)/python -m quality $(ARGS)

$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# The older official SDK, for the tests that run it against the sandbox and the gateway.
.venv-openai2: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --target $@.new 'openai==2.54.0'
	mv $@.new $@

# Renew the lock of tested versions.
lock: $(STAMP)
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate --no-header --extra client --extra postgres --group check --group test --group bench \
	  --group build --no-emit-index-url --no-emit-find-links pyproject.toml -o requirements.lock

clean:
	rm -rf $(VENV) .venv-openai2 .bench
