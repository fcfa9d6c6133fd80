"""One run of fit or test: LightningCLI, what a run shows and what it keeps."""

from fewshot.runs.fit_and_test import FewShotCLI, prepare, run
