from __future__ import annotations

from hypothesis import HealthCheck, settings

# no timing decides a test: the machine may be busy
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)
settings.load_profile("unhurried")
