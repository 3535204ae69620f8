"""The example model, loaded once."""

from tests.engine.conftest import atlas as atlas
