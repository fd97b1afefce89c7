"""What all tests share: how hypothesis draws. A slow or busy machine is no reason to fail."""

from hypothesis import HealthCheck, settings

settings.register_profile(
    "gpt_numpy", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("gpt_numpy")
