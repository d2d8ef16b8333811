# make book   environment, all chapters, the site at _build/html/index.html
# make pdf    the whole book as one file, _build/hsilib.pdf, printed by Chromium
# make env    environment only, in .venv
# make report  the study as a short paper, _build/report.pdf, and its metadata.yaml; printed by Chromium
# make metadata  CITATION.cff, codemeta.json and .zenodo.json anew, from pyproject.toml and CHANGELOG.md
# make test   environment and the test suite
# make study  train what the declared study (book/study.toml) still lacks; needs the scene files
# make notebooks  the chapters as ordinary notebooks in my-notebooks, for Jupyter and papermill
# make claims  executes the chapters that changed on five scenes and keeps what they claim in book/claims.json
# make smoke  every chapter that trains, on the smoke budget (minutes, no data)
# make fuzz   damaged files given to every reader, five thousand of them, drawn anew (minutes)
# make kills  a small study killed three hundred times and finished; four writers and readers (half an hour)
# make device  instructions a pixel of the models' C on an emulated Cortex-M4 and M7; skipped without the packages
# make upsets  what random bit flips in the stored weights of the models cost
# make clean  everything generated, but for the environment

PYTHON ?= python3
VENV   ?= .venv
PY      = $(VENV)/bin/python
READY   = $(VENV)/.ready

SOURCES  = $(sort $(wildcard notebooks/[0-9]*.md))
FAMILIES = baselines pruning quantization offline online self
EVERY    = book/chapters/23-every-run
CHAPTERS = $(filter-out $(EVERY).ipynb, $(SOURCES:notebooks/%.md=book/chapters/%.ipynb)) $(FAMILIES:%=$(EVERY)-%.ipynb)
LIBRARY  = $(wildcard hsilib/*.py hsilib/*/*.py hsilib/*/*/*.py hsilib/*.pyi hsilib/*/*.toml book/hsibook/*.py)
STORE    = $(wildcard book/results/*.csv book/paper/*.csv)

ALL_CLAIMS = book/chapters/24-claims.ipynb
STALE = _build/stale

.PHONY: book contents pdf report metadata env test study models device upsets notebooks claims smoke fuzz kills clean

# chapters run one on each core
export OMP_NUM_THREADS ?= 1

book: $(CHAPTERS)
	test ! -s $(STALE) || $(PY) -m hsilib run -y $$(cat $(STALE))
	$(VENV)/bin/jupyter-book build . --all -n -W --keep-going
	@touch _build/html/.nojekyll  # or a host drops the folders whose names begin with _
	@echo "site: _build/html/index.html"

contents: $(READY)
	@$(PY) -m hsilib chapters > /dev/null  # a page that is listed and not there is said before anything runs
	@mkdir -p _build && rm -f $(STALE)

# chapters that are older than what they are made from: all of them are executed by one command, which loads torch once
book/chapters/%.ipynb: notebooks/%.md $(LIBRARY) $(STORE) $(READY) | contents
	@echo $* | cut -d- -f2- >> $(STALE)

$(EVERY)-%.ipynb: notebooks/23-every-run.md $(LIBRARY) $(STORE) $(READY) | contents
	@echo every-run-$* >> $(STALE)

$(ALL_CLAIMS): book/claims.json

pdf: book
	$(PY) book/report/pdf.py

report: $(READY)
	$(PY) book/report/report.py

metadata: $(READY)
	$(PY) book/metadata.py

env: $(READY)

test: $(READY)
	$(PY) -m pytest -q

study: $(READY)
	$(PY) -m hsilib study

models: $(READY)
	$(PY) -m hsilib.deploy.zoo

device: $(READY)
	$(PY) book/bench/device/device.py

upsets: $(READY)
	PYTHONPATH=book $(PY) -m bench.upsets

notebooks: $(READY)
	$(PY) -m hsilib notebooks my-notebooks

claims: $(READY)
	$(PY) -m hsibook.ledger

smoke: $(READY)
	for chapter in $(SOURCES:notebooks/%.md=%); do \
	  name=$${chapter#*-}; \
	  case $$name in \
	    quickstart) given="-p epochs 1" ;; \
	    overview | paper-versus-ours | what-to-believe | errata | models | explorer | maps | machines | claims | unseen) continue ;; \
	    every-run) for family in $(FAMILIES); do $(PY) -m hsilib run $$name -p budget smoke -p family $$family || exit 1; done; \
	      continue ;; \
	    *) given="-p budget smoke" ;; \
	  esac; \
	  $(PY) -m hsilib run $$name $$given || exit 1; \
	done

$(READY): requirements.lock pyproject.toml book/pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11, 5) else "make env needs Python 3.11.5 or later")'
	@echo "making the environment in $(VENV), once: some minutes, 2.2 GB (7 GB where torch brings CUDA along)"
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q --no-compile --disable-pip-version-check torch==2.13.0  # which build is the machine's choice
	$(PY) -m pip install -q --no-compile --disable-pip-version-check -r requirements.lock  # each file is checked by its hash
	$(PY) -m pip install -q --no-compile --disable-pip-version-check --no-deps --config-settings editable_mode=compat -e . -e ./book
	@# on all cores, once: else every process reads torch's source anew where PYTHONDONTWRITEBYTECODE is set
	@$(PY) -m compileall -qq -j 0 $(VENV)/lib/python3*/site-packages || true
	touch $@

fuzz: $(READY)
	$(PY) tests/fuzz.py 200

kills: $(READY)
	$(PY) tests/kills.py 150
	$(PY) tests/crowd.py 300

clean:
	rm -rf _build book/chapters
