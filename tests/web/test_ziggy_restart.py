"""Ziggy's document on restarting failed tasks, in the console: a mode for each task, or one for all of an instance."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect
from served import ServedProject, Visitor

from made_once import made_once

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "ziggy"
FIRST, SECOND = 2, 3  # the permuter tasks of the sample


@pytest.fixture
@made_once
def sample(project: ServedProject) -> ServedProject:
    """Ziggy's sample after a run in which subtask 0 of both permuter tasks failed."""
    shutil.copytree(EXAMPLE, project.folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    runpy.run_path(str(EXAMPLE / "deliver.py"))["deliver"](project.folder / "data-receipt")
    overrides = ("--definitions", "etc/ziggy-extra.d/pl-with-overrides.xml")
    project.rekindle("ziggy", "console", "start", "sample", "Test 1", *overrides, "--work", expect=2)
    return project


@pytest.fixture
def instance(sample: ServedProject) -> ServedProject:
    """The sample with a server."""
    sample.serve()
    return sample


def starts(project: ServedProject) -> dict[int, str]:
    """Return where each reset permuter task of the newest rerun starts."""
    newest = project.ask("reruns", "list")["reruns"][0]["rerun"]
    jobs = project.ask("reruns", "show", str(newest))["jobs"]
    return {job["id"]: job["start"] for job in jobs if job["id"] in (FIRST, SECOND)}


def select_both(page: Page) -> None:
    page.locator(f"#job-{FIRST} .col-state").click(modifiers=["Control"])
    page.locator(f"#job-{SECOND} .col-state").click(modifiers=["Control"])


def test_several_tasks_are_restarted_with_a_mode_each(instance: ServedProject, visitor: Visitor) -> None:
    visitor.log_in()
    page = visitor.open("/workflows/1")
    select_both(page)
    page.locator(f"#job-{SECOND}").click(button="right")
    page.get_by_role("menuitem", name="Rerun the selection").click()
    expect(page.get_by_role("heading", name="Rerun 2 tasks")).to_be_visible()
    words = page.get_by_label("Mode for all").locator("option")
    assert [text.removesuffix(" (not possible)") for text in words.all_inner_texts()] == [
        "Keep most",
        "Resume monitoring",
        "Resubmit",
        "Resume current step",
        "Restart from beginning",
    ]
    plan = page.locator("#rerun-plan")
    expect(plan).to_contain_text("1 subtask, 3 kept")
    page.get_by_text("A mode for each task").click()
    page.get_by_role("combobox", name="permuter[dataset=set-1]").select_option(label="Resume current step")
    page.get_by_role("combobox", name="permuter[dataset=set-2]").select_option(label="Restart from beginning")
    expect(plan).to_contain_text("goes on with 3 of 4 subtasks")
    expect(plan.get_by_role("row", name="permuter[dataset=set-2]")).to_contain_text("beginning")
    page.locator("#rerun-apply").click()
    expect(page.locator(".undo-bar")).to_contain_text("Rerun 1: 6 jobs run again.")
    assert starts(instance) == {FIRST: "store", SECOND: "beginning"}
    page.locator(".undo-bar").get_by_role("button", name="Undo").click()
    expect(page.locator(".undo-bar")).to_contain_text("Rerun 1 is undone")
    states = {job["id"]: job["state"] for job in instance.ask("jobs", "list")["jobs"]}
    assert (states[FIRST], states[SECOND]) == ("failed", "failed")


def test_all_failed_tasks_of_an_instance_are_restarted_with_one_mode(instance: ServedProject, visitor: Visitor) -> None:
    page = visitor.log_in()
    page.locator("#workflow-1").click(button="right")
    page.get_by_role("menuitem", name="Rerun all failed jobs").click()
    expect(page.get_by_role("heading", name="Rerun 2 tasks")).to_be_visible()
    page.get_by_label("Mode for all").select_option(label="Resubmit")
    expect(page.locator("#rerun-plan")).to_contain_text("6 jobs run again: 2 selected, 4 downstream")
    page.locator("#rerun-apply").click()
    expect(page.locator(".undo-bar")).to_contain_text("Rerun 1: 6 jobs run again.")
    assert starts(instance) == {FIRST: "process", SECOND: "process"}
    assert instance.ask("reruns", "show", "1")["request"]["how"]["mode"] == "resubmit"


def test_a_mode_that_a_tasks_state_does_not_allow_says_why(instance: ServedProject, visitor: Visitor) -> None:
    visitor.log_in()
    page = visitor.open("/workflows/1")
    page.evaluate("rekindle.rerun('plus=2')")
    monitoring = page.get_by_label("Mode", exact=True).locator("option", has_text="Resume monitoring")
    expect(monitoring).to_be_disabled()
    page.get_by_text("What the modes do").click()
    expect(page.get_by_role("dialog")).to_contain_text("Not possible: nothing of it runs: it is failed.")
