# The door to the project: `make` lists what it can do. Every target sets up what it needs.
PY := .venv/bin/python

.PHONY: help demo test test-browser lab export site lock audit clean
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-12s %s\n", $$1, $$2}' Makefile
	@echo "PYTHON=/path/to/python3 chooses the Python (3.10 or newer) that the first run sets up."

demo: .venv/.ready ## colorize the gray photos of data/photos into out/
	@.venv/bin/colorize-demo

test: .venv/.ready ## check everything: notebooks, library, README, wheel (minutes)
	@$(PY) .ci/check.py

test-browser: .venv/.ready ## check page, studio and the widgets of the lessons in headless Chromium (minutes)
	@$(PY) -m pip install -q --disable-pip-version-check -c constraints.txt playwright
	@$(PY) .ci/browser_page.py
	@$(PY) .ci/browser_studio.py
	@$(PY) .ci/browser_widgets.py

lab: .venv/.ready ## open the notebooks in JupyterLab
	@$(PY) -m jupyterlab nbs/index.ipynb

export: .venv/.ready ## after editing notebooks: clean them, write the library and README.md
	@$(PY) -m ruff format -q nbs/*.ipynb .ci/*.py
	@.venv/bin/nbdev-clean
	@.venv/bin/nbdev-export
	@$(PY) .ci/readme.py

site: .venv/.ready ## build the documentation site into _docs, and check it (minutes; needs a network once)
	@$(PY) -m pip install -q --disable-pip-version-check -c constraints.txt playwright
	@$(PY) -W ignore .ci/website.py

lock: ## after editing settings.ini: lock versions and hashes (UPGRADE=1: the newest versions)
	@PYTHON="$(PYTHON)" sh .ci/lock.sh $(if $(UPGRADE),--upgrade)

audit: ## ask for known vulnerabilities of the locked packages (needs a network)
	@PYTHON="$(PYTHON)" sh .ci/lock.sh audit

clean: ## delete what was made, but not .venv (rm -r .venv frees its disk space)
	rm -rf out build dist *.egg-info _proc _docs
	find nbs colorize_nb .ci data '(' -name __pycache__ -o -name .ipynb_checkpoints ')' -prune -exec rm -rf {} +

# The stamp is written last and holds the folder it was made in, so that a set-up that was cut off, or a folder
# that was moved or copied, is repaired by the next make.
ifneq ($(shell cat .venv/.ready 2>/dev/null),$(CURDIR))
.PHONY: .venv/.ready
endif
locks := constraints.txt constraints-hashes.txt
.venv/.ready: settings.ini setup.py pyproject.toml $(locks)
	@PYTHON="$(PYTHON)" sh .ci/setup.sh
