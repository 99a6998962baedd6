"""The errors that VDSM answers with: code and text as its own classes make them.

Sources: vdsm: lib/vdsm/common/exception.py, lib/vdsm/storage/exception.py,
lib/yajsonrpc/exception.py. Clients decide by code; the texts are there because
people read them in logs.
"""


class Refused(Exception):
    """A verb ended in an error that goes to the client as it is."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return self.message


def _context(message: str, **context: object) -> str:
    return f"{message}: {context}" if context else message


# virt


def no_such_vm(vm_id: object) -> Refused:
    return Refused(1, _context("Virtual machine does not exist", vmId=vm_id))


def no_such_vm_any_more() -> Refused:
    """What shutdown and reset say of a VM that is Down."""
    return Refused(1, "Virtual machine does not exist")


def vm_exists() -> Refused:
    return Refused(4, "Virtual machine already exists")


def cannot_create_vm() -> Refused:
    return Refused(9, "Error creating the requested VM")


def unexpected() -> Refused:
    return Refused(16, "Unexpected exception")


def unavailable() -> Refused:
    return Refused(40, "Resource unavailable")


def ha_policy_failed() -> Refused:
    return Refused(61, "Failed to set Hosted Engine HA policy")


def general(text: object) -> Refused:
    """Code 100: any other exception inside a verb; ``text`` becomes the repr of a tuple of one."""
    return Refused(100, f"General Exception: {(str(text),)!r}")


def hook_failed(stderr: bytes) -> Refused:
    return Refused(1500, f"Hook Error: {(stderr,)!r}")


# storage: the value is shown as the repr of a tuple


def _storage(code: int, message: str, *values: object) -> Refused:
    return Refused(code, f"{message}: {values!r}")


def no_such_volume(volume_id: object) -> Refused:
    return _storage(201, "Volume does not exist", volume_id)


def illegal_volume(volume_id: object) -> Refused:
    return _storage(227, "Cannot prepare illegal volume", volume_id)


def no_image_path(path: object) -> Refused:
    return _storage(254, "Image path does not exist or cannot be accessed/created", path)


def unknown_pool(pool_id: object) -> Refused:
    return _storage(309, "Unknown pool id, pool not connected", pool_id)


def no_such_domain(domain_id: object) -> Refused:
    return _storage(358, "Storage domain does not exist", domain_id)


def domain_not_accessible(domain_id: object) -> Refused:
    return Refused(
        379, f"Domain is either partially accessible or entirely inaccessible: 'domain={domain_id}'"
    )


def unknown_task(task_id: object) -> Refused:
    return _storage(401, "Task id unknown", task_id)


def domain_is_in_pool(domain_id: object) -> Refused:
    return Refused(900, f"Storage domain is member of pool: 'domain={domain_id}'")


def no_such_lease(lease_id: object) -> Refused:
    return Refused(936, f"No such lease: 'lease={lease_id}'")


def bad_storage_parameter(name: str, value: object) -> Refused:
    return Refused(1000, f"Invalid parameter: {f'{name}={value}'!r}")


# the RPC layer


def recovering() -> Refused:
    return Refused(99, "Recovering from crash or Initializing")


def too_many_tasks(queued: int) -> Refused:
    context = {"resource": "jsonrpc", "current_tasks": queued, "reason": "Too many tasks"}
    return Refused(1100, _context("Not enough resources", **context))


def parse_error() -> Refused:
    return Refused(
        -32700,
        "Invalid JSON was received by the server. "
        "An error occurred on the server while parsing the JSON text.",
    )


def invalid_request(reason: str, request: object) -> Refused:
    return Refused(-32600, _context("Invalid request", request=request, reason=reason))


def no_such_method(method: object) -> Refused:
    return Refused(-32601, _context("The method does not exist or is not available", method=method))


def internal(text: object = None) -> Refused:
    """Any exception that reaches the RPC layer."""
    return Refused(-32603, _context("Internal JSON-RPC error", **({"reason": str(text)} if text else {})))
