"""Every test process, and every process it starts: one thread, no network, no chatter. Set before anything imports torch."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers share two cores
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each of some hundred child processes compiles bylaw again

from hypothesis import settings  # see above

settings.register_profile("house", deadline=None)  # a busy machine fails no law
settings.load_profile("house")
