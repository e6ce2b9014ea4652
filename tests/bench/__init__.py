"""Measurements, made with generated exports; `./dev bench` runs them."""
