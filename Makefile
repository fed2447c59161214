# bylaw's own commands. `make demo` and `make test` each set up all they need from nothing.
# A distribution's Python first: it is built with profile-guided and link-time optimisation, pyenv's by default is not, which takes up to
# 1.6 times as long (docs/lab-log.md, 2026-11-23).
PY ?= $(firstword $(wildcard /usr/bin/python3.11) python3.11)
VENV ?= .venv
# Whoever names one gets it, or hears why not.
ELSE = $(if $(filter file,$(origin PY)),2>/dev/null || $$(command -v python3.11 || command -v python3) -m venv --clear $(VENV))
BIN := $(VENV)/bin
# On a machine with a GPU: `make TORCH_INDEX= setup` takes PyPI's CUDA build.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
XI := $(if $(strip $(TORCH_INDEX)),--extra-index-url $(TORCH_INDEX),)
STAMP := $(VENV)/.installed
# Resolves more quickly than the one that Python 3.11 brings (docs/lab-log.md, 2026-11-23).
PIP := pip==26.3
COMPILED := import aiohttp, datasets, matplotlib.pyplot, peft, sqlalchemy, typer, uvicorn; from trl import GRPOTrainer, SFTTrainer

EXTRAS := align,eval,scale,serve,pii,pg,otel,langchain,openai-agents,pydantic-ai,dev

.PHONY: setup demo test check bench docs constraints format

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || { $(PY) -c 'import ensurepip' && $(PY) -m venv $(VENV); } $(ELSE)
	@echo "installing pinned packages into $(VENV) (about a minute, once)"
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null
	@$(BIN)/python -m pip install -q $(PIP) || echo "going on with the pip that is here"
	@# torch alone, so that only one package is looked up in the extra index; what it needs comes with the pins below
	@$(BIN)/python -m pip install -q --no-compile --retries 0 --no-deps $(XI) torch==2.13.0
	@$(BIN)/python -m pip install -q --no-compile -c constraints.txt -e '.[$(EXTRAS)]'
	@# what the demo imports is compiled here, once; everything else when it is first imported
	@env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -c '$(COMPILED)' && $(BIN)/python -m compileall -q src || echo 'the first start will take longer'
	@touch $@

demo: setup
	$(BIN)/bylaw demo

# Four workers on two cores: many tests wait for processes of their own.
test: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy -n 2
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n 4 --dist worksteal

# Here two: a third would only import everything once more.
check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy -n 2
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -n 2 --dist worksteal --hypothesis-profile=quick -m 'not slow and not gpu'

bench: setup
	$(BIN)/python -m bench

docs: setup
	$(BIN)/python -m docs.build

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Every direct and transitive pin, from a fresh environment: run this after changing pyproject.toml.
constraints:
	rm -rf $(VENV).pins && $$(command -v $(PY) || command -v python3) -m venv $(VENV).pins
	$(VENV).pins/bin/python -m pip install -q --retries 0 --no-deps $(XI) torch==2.13.0
	$(VENV).pins/bin/python -m pip install -q -e '.[$(EXTRAS)]'
	$(VENV).pins/bin/python -m pip freeze --exclude-editable | sed 's/+cpu//' > constraints.txt
	rm -rf $(VENV).pins
