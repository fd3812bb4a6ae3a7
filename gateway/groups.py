"""Which tenants share answers with whom: what the configuration says, and nothing that a request says."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.config.schema import SharedCache


class Groups:
    """The groups of a configuration, which puts a tenant into at most one for each model."""

    def __init__(self, groups: Sequence[SharedCache]) -> None:
        self._of_all: dict[str, SharedCache] = {}
        self._of_one: dict[tuple[str, str], SharedCache] = {}
        for group in groups:
            for tenant in group.tenants:
                if group.models is None:
                    self._of_all[tenant] = group
                for model in group.models or ():
                    self._of_one[tenant, model] = group

    def find(self, tenant: str, model: str) -> SharedCache | None:
        """Return whom a tenant shares the answers of a requested model with; None if with nobody."""
        if not self._of_all and not self._of_one:
            return None
        return self._of_one.get((tenant, model)) or self._of_all.get(tenant)
