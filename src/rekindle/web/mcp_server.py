"""`rekindle mcp`: tools for agents over standard input and output, with the SDK of the Model Context Protocol (extra
`mcp`)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import mcp_types as types
from mcp.server.lowlevel.server import Server
from mcp.server.stdio import stdio_server

from rekindle import __version__
from rekindle.engine.running.reconcile import reconciled
from rekindle.web.http_errors import KNOWN, describe
from rekindle.web.mcp_tools import Agent
from rekindle.web.readers import Readers

if TYPE_CHECKING:
    from rekindle.engine.session import Session
    from rekindle.web.mcp_tools import Tool

_INSTRUCTIONS = (
    "rekindle runs workflows of jobs and reruns parts of them. Begin with `status` and `list_failures`; `why` says "
    "whether jobs would run again. A rerun has two calls: `plan_rerun` returns a plan with a digest and changes "
    "nothing; `apply` takes the digest of a plan that was shown. `undo` takes a rerun back. Answers that were "
    "shortened have the key `truncated`: ask for a page with `limit` and `offset`."
)


def serve(opened: Callable[[], Session], scopes: Sequence[str], name: str) -> None:
    """Serve a store until standard input ends. `opened` opens a session in the calling thread; `name` is recorded with
    what is written."""
    asyncio.run(_serve(opened, Agent(scopes, name)))


async def _serve(opened: Callable[[], Session], agent: Agent) -> None:
    readers = Readers(opened, threads=1)
    server = make_server(readers, agent)
    try:
        async with stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())
    finally:
        readers.close()


def make_server(readers: Readers, agent: Agent) -> Server[Any]:
    """Return a server of the agent's tools, which run in the readers' thread."""

    async def list_tools(_: Any, __: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_described(one) for one in agent.tools()])

    async def call_tool(_: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        try:
            tool = agent.tool(params.name)
            given = params.arguments or {}
            answer = await readers.run(lambda session: _call(session, agent, tool, given))
        except KNOWN as error:
            return _failed(error)
        return types.CallToolResult(content=[types.TextContent(type="text", text=answer.decode())])

    return Server(
        "rekindle",
        version=__version__,
        title="rekindle",
        instructions=_INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def _call(session: Session, agent: Agent, tool: Tool, given: dict[str, Any]) -> bytes:
    """Call a tool. One that changes something resolves the attempts of dead runners first, as commands do."""
    if tool.scope == "read":
        return agent.call(session, tool, given)
    with reconciled(session), session.store.written_by(agent.principal.name):
        return agent.call(session, tool, given)


def _failed(error: Exception) -> types.CallToolResult:
    """Return the message and the hint of an error."""
    _, message, hint = describe(error)
    text = f"{message}\nhint: {hint}" if hint else message
    return types.CallToolResult(content=[types.TextContent(type="text", text=text)], is_error=True)


def _described(tool: Tool) -> types.Tool:
    reads = tool.scope == "read" or tool.name == "plan_rerun"
    return types.Tool(
        name=tool.name,
        description=tool.about,
        input_schema=tool.schema(),
        annotations=types.ToolAnnotations(read_only_hint=reads, destructive_hint=False, open_world_hint=False),
    )
