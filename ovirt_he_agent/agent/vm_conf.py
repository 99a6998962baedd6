"""vm.conf says what the next start would start, for tools that still read it; nothing here reads it."""

from ovirt_he_agent.agent import ports
from ovirt_he_agent.ovf import document
from ovirt_he_agent.ovf.vmconf import file


class VmConf:
    """Makes the text once for each definition."""

    def __init__(self, conf: ports.VmConf, definitions: ports.Definitions) -> None:
        self._conf = conf
        self._definitions = definitions
        self._made_of: tuple[bytes, str] | None = None
        self._text = ""

    async def see_to(self) -> None:
        """Bring the file up to date, also when somebody else changed it; without a definition it stays.

        Raises what the file raises.
        """
        definition = self._definitions.current()
        if definition is None:
            return
        made_of = definition.document, definition.domain_xml
        if made_of != self._made_of:
            self._text = file.of(document.read(definition.document), definition.domain_xml)
            self._made_of = made_of
        await self._conf.hold(self._text)
