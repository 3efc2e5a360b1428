"""Built-in resources that write files or run commands: true to Chef, and idle the second time."""

from __future__ import annotations

import os
import stat

import pytest

from tests.sandbox.converge.kitchen import Kitchen


def mode(kitchen: Kitchen, name: str) -> int:
    return stat.S_IMODE((kitchen.out / name).stat().st_mode)


def test_files_folders_and_links_are_made_once(kitchen: Kitchen) -> None:
    kitchen.write("cookbooks/t/files/default/deep/data.txt", "data")
    kitchen.write("cookbooks/t/files/tree/a/b.txt", "b")
    kitchen.write("cookbooks/t/templates/conf.erb", "<%= @who %> on <%= node['t'] %>\n")
    text = """
        directory 'OUT/a/b' do
          recursive true
          mode '0750'
        end
        file 'OUT/a/b/file' do
          content "text\n"
          mode 0640
          owner Process.uid
        end
        file('OUT/empty')
        cookbook_file 'OUT/data.txt' do
          source 'deep/data.txt'
        end
        template 'OUT/conf' do
          variables(who: 'me')
        end
        link 'OUT/link' do
          to 'OUT/conf'
        end
        remote_directory 'OUT/tree'
        remote_file 'OUT/copy' do
          source 'file://OUT/conf'
        end
    """
    first = kitchen.converge(text, t="node")
    assert first.ok, first.error
    assert kitchen.read("a/b/file") == "text\n"
    assert (mode(kitchen, "a/b"), mode(kitchen, "a/b/file")) == (0o750, 0o640)
    assert kitchen.read("empty") == ""
    assert kitchen.read("data.txt") == "data"
    assert kitchen.read("copy") == kitchen.read("conf") == "me on node\n"
    assert os.readlink(kitchen.out / "link") == str(kitchen.out / "conf")
    assert kitchen.read("tree/a/b.txt") == "b"
    second = kitchen.converge(t="node")
    assert (second.ok, second.updated) == (True, [])
    assert second.total > 8


def test_a_changed_mode_or_content_is_put_right(kitchen: Kitchen) -> None:
    text = "file 'OUT/x' do\n content 'x'\n mode '0600'\nend"
    kitchen.converge(text)
    (kitchen.out / "x").chmod(0o644)
    assert kitchen.converge().updated == [f"file[{kitchen.out}/x] create"]
    assert mode(kitchen, "x") == 0o600
    (kitchen.out / "x").write_text("y")
    assert len(kitchen.converge().updated) == 1
    assert kitchen.read("x") == "x"
    assert mode(kitchen, "x") == 0o600


def test_what_should_go_goes(kitchen: Kitchen) -> None:
    kitchen.write("out/dir/file", "x")
    kitchen.write("out/file", "x")
    text = """
        file('OUT/file') { action :delete }
        directory('OUT/dir') { recursive true; action :delete }
        file('OUT/once') { content 'first'; action :create_if_missing }
    """
    assert len(kitchen.converge(text).updated) == 3
    assert sorted(os.listdir(kitchen.out)) == ["once"]
    kitchen.write("out/once", "mine")
    assert kitchen.converge().updated == []
    assert kitchen.read("once") == "mine"


def test_a_missing_folder_fails_the_run_and_names_it(kitchen: Kitchen) -> None:
    run = kitchen.converge("file('OUT/no/where') { content 'x' }")
    assert not run.ok
    assert "EnclosingDirectoryDoesNotExist" in run.error
    assert str(kitchen.out / "no") in run.error


def test_new_content_that_does_not_pass_its_check_is_not_put_in_place(kitchen: Kitchen) -> None:
    kitchen.write("out/x", "good")
    run = kitchen.converge("file 'OUT/x' do\n content 'bad'\n verify 'grep -q good %{path}'\nend")
    assert not run.ok
    assert kitchen.read("x") == "good"
    assert os.listdir(kitchen.out) == ["x"]


def test_templates_lose_lines_that_hold_only_a_statement(kitchen: Kitchen) -> None:
    kitchen.write(
        "cookbooks/t/templates/x.erb",
        "a\n<% [1, 2].each do |n| %>\n  <%= n %>-<%= shout('x') %>\n  <% end %>\n"
        "<% if true %>one<% end %>\n<%= render 'part.erb', variables: { p: 3 } -%>\n"
        "<%# comment %>\nz\n",
    )
    kitchen.write("cookbooks/t/templates/part.erb", "p<%= @p %>\n")
    run = kitchen.converge(
        """
        template 'OUT/x' do
          helper(:shout) { |text| text.upcase }
        end
        """
    )
    assert run.ok, run.error
    assert kitchen.read("x") == "a\n  1-X\n  2-X\none\np3\nz\n"


def test_the_most_special_template_is_taken(kitchen: Kitchen) -> None:
    kitchen.write("cookbooks/t/templates/default/x.erb", "all")
    kitchen.write("cookbooks/t/templates/debian/x.erb", "debian")
    assert kitchen.converge("template('OUT/x')").ok
    assert kitchen.read("x") == "debian"


def test_commands_run_as_they_are_told(kitchen: Kitchen) -> None:
    text = """
        execute 'words' do
          command ['sh', '-c', 'echo "$0 $WHO"; pwd; umask' , 'a b']
          cwd 'OUT'
          environment 'WHO' => 'me'
          umask '0027'
          not_if { ::File.exist?('OUT/done') }
        end
        execute 'echo $((1 + 1)) > OUT/shell' do
          creates 'OUT/shell'
        end
        bash 'script' do
          code "set -o pipefail\nfalse | true || echo caught > OUT/bash"
          not_if 'test -e OUT/bash'
        end
        execute('exit 3') { returns [0, 3]; only_if 'false' }
        ruby_block 'ruby' do
          block { ::File.write('OUT/done', shell_out!('echo', 'x y').stdout) }
          not_if { ::File.exist?('OUT/done') }
        end
        log 'said' do
          level :debug
        end
    """
    run = kitchen.converge(text)
    assert run.ok, run.error
    assert kitchen.read("shell") == "2\n"
    assert kitchen.read("bash") == "caught\n"
    assert kitchen.read("done") == "x y\n"
    assert kitchen.converge().updated == []


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ("command 'exit 4'", "exit status 4"),
        ("command 'sleep 30'; timeout 0.3", "no end after 0.3 s"),
        ("command ['no-such-program']", "ENOENT"),
    ],
)
def test_a_failing_command_fails_the_run(kitchen: Kitchen, properties: str, expected: str) -> None:
    run = kitchen.converge(f"execute('x') {{ {properties} }}\nfile('OUT/after')")
    assert not run.ok
    assert expected in run.error
    assert not (kitchen.out / "after").exists()


def test_a_command_is_tried_again_as_often_as_told(kitchen: Kitchen) -> None:
    text = """
        execute 'count' do
          command 'echo x >> OUT/n; test $(wc -l < OUT/n) -ge 3'
          retries 2
          retry_delay 0
        end
        execute 'never' do
          command 'echo x >> OUT/m; false'
          retries 1
          retry_delay 0
          ignore_failure true
        end
        file 'OUT/after'
    """
    run = kitchen.converge(text)
    assert run.ok, run.error
    assert (kitchen.read("n"), kitchen.read("m")) == ("x\n" * 3, "x\n" * 2)
    assert (kitchen.out / "after").exists()


def test_what_is_sensitive_is_not_shown(
    kitchen: Kitchen, capfd: pytest.CaptureFixture[str]
) -> None:
    run = kitchen.converge(
        """
        file('OUT/s') { content 'hunter2'; sensitive true }
        execute('hide') { command 'echo hunter2; exit 1'; sensitive true }
        """,
        log_level="info",
    )
    assert not run.ok
    shown = capfd.readouterr()
    assert "hunter2" not in run.error + shown.out + shown.err


def test_asking_what_would_be_done_does_nothing(kitchen: Kitchen) -> None:
    text = """
        directory 'OUT/d'
        file 'OUT/d/f' do
          content 'x'
          notifies :run, 'execute[touch OUT/ran]', :immediately
        end
        execute('touch OUT/ran') { action :nothing }
    """
    run = kitchen.converge(text, why_run=True)
    assert run.ok, run.error
    assert len(run.updated) == 3
    assert os.listdir(kitchen.out) == []
