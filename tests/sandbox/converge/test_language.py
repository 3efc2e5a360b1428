"""The recipe language: attributes, notifications, guards, custom resources, libraries."""

from __future__ import annotations

import json

import pytest

from tests.sandbox.converge.kitchen import Kitchen


def notes(kitchen: Kitchen) -> list[str]:
    return kitchen.read("notes").split()


def block(name: str, *, action: str = ":run", more: str = "") -> str:
    """A resource that notes its name whenever it runs."""
    return f"""
        execute '{name}' do
          command 'echo {name} >> OUT/notes'
          action {action}
          {more}
        end
    """


def test_delayed_notifications_run_once_at_the_end(kitchen: Kitchen) -> None:
    text = block("one", more="notifies :run, 'execute[end]'")
    text += block("two", more="notifies :run, 'execute[end]', :delayed")
    text += block("end", action=":nothing") + block("three")
    assert kitchen.converge(text).ok
    assert notes(kitchen) == ["one", "two", "three", "end"]


def test_immediate_notifications_run_at_once_and_before_ones_before(kitchen: Kitchen) -> None:
    text = block("now", action=":nothing") + block("first", action=":nothing")
    text += block("one", more="notifies :run, 'execute[now]', :immediately")
    text += block("two", more="notifies :run, 'execute[first]', :before")
    text += block("idle", more="not_if { true }\nnotifies :run, 'execute[first]', :before")
    assert kitchen.converge(text).ok
    assert notes(kitchen) == ["one", "now", "first", "two"]


def test_subscriptions_are_notifications_the_other_way(kitchen: Kitchen) -> None:
    text = block("late", action=":nothing", more="subscribes :run, 'execute[one]', :immediately")
    text += block("one") + block("two")
    assert kitchen.converge(text).ok
    assert notes(kitchen) == ["one", "late", "two"]


def test_what_changed_before_a_failure_still_gets_its_notification(kitchen: Kitchen) -> None:
    text = block("restart", action=":nothing")
    text += block("one", more="notifies :run, 'execute[restart]'")
    run = kitchen.converge(text + "raise 'compile'\n")
    assert not run.ok
    assert not (kitchen.out / "notes").exists(), "nothing runs when the recipe cannot be read"
    run = kitchen.converge(text + "execute 'false'\n" + block("after"))
    assert not run.ok
    assert notes(kitchen) == ["one", "restart"]


def test_a_notification_to_nowhere_fails_the_run(kitchen: Kitchen) -> None:
    run = kitchen.converge(block("one", more="notifies :run, 'execute[nobody]', :immediately"))
    assert not run.ok
    assert "execute[nobody]" in run.error


def test_all_guards_must_hold(kitchen: Kitchen) -> None:
    text = block("a", more="only_if { true }\nonly_if 'true'\nnot_if 'false'")
    text += block("b", more="only_if { true }\nnot_if 'test -d .', cwd: '/'")
    text += block("c", more="not_if 'test \"$X\" = 1', environment: { 'X' => '1' }")
    text += block("d", more="guard_interpreter :bash\nonly_if '[[ a == a ]]'")
    assert kitchen.converge(text).ok
    assert notes(kitchen) == ["a", "d"]


def test_a_guard_of_execute_runs_as_its_command_does(kitchen: Kitchen) -> None:
    same = "cwd '/'\nenvironment 'X' => '1'\nnot_if 'test \"$PWD$X\" = /1'"
    text = block("same", more=same) + block("own", more=same.replace("= /1'", "= /1', cwd: '/usr'"))
    text += f"bash 'script' do\ncode 'echo script >> {kitchen.out}/notes'\n{same}\nend\n"
    run = kitchen.converge(text)
    assert run.ok, run.error
    assert notes(kitchen) == ["own", "script"]


def test_attributes_follow_chefs_precedence(kitchen: Kitchen) -> None:
    kitchen.write(
        "cookbooks/t/attributes/default.rb",
        """
        default['p'] = { 'file' => 1, 'role' => 1, 'normal' => 1, 'over' => 1, 'list' => [1, 2] }
        default['p']['deep']['er'] = "from #{node['platform']}"
        override['p']['over'] = 2
        default['q']['sym'] = :value
        """,
    )
    kitchen.write(
        "roles/r.json",
        json.dumps(
            {
                "run_list": ["recipe[t]"],
                "default_attributes": {"p": {"role": 2, "list": [2, 3]}},
                "override_attributes": {"p": {"over": 3}},
            }
        ),
    )
    run = kitchen.converge(
        """
        node.default['p']['recipe'] = 4
        node.override['p']['late'] = 5
        file('OUT/p') { content node['p'].to_h.to_json }
        file('OUT/q') { content [node['q']['sym'], node.read('no', 'thing'), node[:p][:role],
                                 node['p'].dig('deep', 'er'), node['roles'].to_a, node.role?('r'),
                                 node.attribute?('p')].to_json }
        """,
        run_list=("role[r]",),
        p={"normal": 9, "list": [7]},
    )
    assert run.ok, run.error
    assert json.loads(kitchen.read("p")) == {
        "file": 1,
        "role": 2,
        "normal": 9,
        "over": 3,
        "list": [7],
        "deep": {"er": "from debian"},
        "recipe": 4,
        "late": 5,
    }
    assert json.loads(kitchen.read("q")) == ["value", None, 2, "from debian", ["r"], True, True]


def test_lists_of_the_same_level_are_joined(kitchen: Kitchen) -> None:
    kitchen.write("cookbooks/t/attributes/default.rb", "default['l'] = [1, 2]\n")
    kitchen.write(
        "roles/r.json",
        json.dumps({"run_list": ["recipe[t]"], "default_attributes": {"l": [2, 3]}}),
    )
    kitchen.converge("file('OUT/l') { content node['l'].to_json }", run_list=("role[r]",))
    assert json.loads(kitchen.read("l")) == [1, 2, 3]


def test_merged_attributes_cannot_be_written(kitchen: Kitchen) -> None:
    run = kitchen.converge("node['x']['y'] = 2\n", x={"y": 1})
    assert not run.ok
    assert "Frozen" in run.error


def test_a_custom_resource_converges_only_what_differs(kitchen: Kitchen) -> None:
    kitchen.write(
        "cookbooks/t/resources/pair.rb",
        """
        unified_mode true
        resource_name :pair
        provides :pair
        property :path, String, name_property: true
        property :left, String
        property :right, [String, Integer], default: 'r', coerce: proc { |v| v.to_s }
        property :owner_note, String, desired_state: false

        load_current_value do
          current_value_does_not_exist! unless ::File.exist?(path)
          first, second = ::File.read(path).split
          left first
          right second
        end

        def both = "#{left} #{right}"

        action_class do
          def save = ::File.write(new_resource.path, both)
        end

        action :make do
          converge_if_changed { save }
        end

        action :clear do
          converge_by('clear') { ::File.unlink(new_resource.path) } if current_resource
        end
        """,
    )
    text = """
        pair 'OUT/p' do
          left 'a'
          right 5
          owner_note 'x'
          notifies :run, 'execute[told]'
        end
        execute('told') { command 'echo told >> OUT/notes'; action :nothing }
    """
    first = kitchen.converge(text)
    assert first.ok, first.error
    assert kitchen.read("p") == "a 5"
    assert kitchen.converge().updated == []
    assert notes(kitchen) == ["told"]
    kitchen.write("out/p", "a 6")
    assert [one.split("[")[0] for one in kitchen.converge().updated] == ["pair", "execute"]
    kitchen.converge("pair('OUT/p') { action :clear }")
    assert not (kitchen.out / "p").exists()
    assert kitchen.converge().updated == []


def test_a_custom_resource_counts_as_changed_when_something_inside_was(kitchen: Kitchen) -> None:
    kitchen.write(
        "cookbooks/t/resources/default.rb",
        """
        unified_mode true
        property :words, Array, default: [], description: 'What to write'
        property :suffix, String, default: lazy { ".#{name}" }
        action :run do
          path = "OUT/f#{new_resource.suffix}"
          file path do
            content new_resource.words.join(',')
            notifies :run, 'execute[outer]', :delayed
          end
          # unified mode: the file is there by now
          log ::File.read(path)
        end
        """,
    )
    text = """
        execute('outer') { command 'echo outer >> OUT/notes'; action :nothing }
        t 'one' do
          words lazy { node.run_state['words'] }
          notifies :create, 'file[OUT/told]', :immediately
        end
        file('OUT/told') { action :nothing }
        execute('echo last >> OUT/notes') { not_if 'grep last OUT/notes' }
    """
    run = kitchen.converge("node.run_state['words'] = %w[a b]\n" + text)
    assert run.ok, run.error
    assert kitchen.read("f.one") == "a,b"
    assert notes(kitchen) == ["last", "outer"]
    assert (kitchen.out / "told").exists()
    assert kitchen.converge().updated == []


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("thing('x') { level 'no' }", "must be one of"),
        ("thing('x') { level 5 }", "must be one of"),
        ("thing('x') { code 'lower' }", "wrong form"),
        ("thing('x') { even 3 }", "must be even"),
        ("thing('x') { levle 'low' }", "levle"),
        ("thing('x')", "need is required"),
        ("thing('x') { need 'y'; action :dance }", "no action dance"),
    ],
)
def test_wrong_properties_are_refused(kitchen: Kitchen, given: str, expected: str) -> None:
    kitchen.write(
        "cookbooks/t/resources/thing.rb",
        """
        unified_mode true
        provides :thing
        property :level, String, equal_to: %w[low high]
        property :code, String, regex: /\\A[A-Z]+\\z/
        property :even, Integer, callbacks: { 'must be even' => ->(v) { v.even? } }
        property :need, String, required: true
        action(:run) { }
        """,
    )
    run = kitchen.converge(given)
    assert not run.ok
    assert expected in run.error


def test_a_property_whose_name_chef_needs_itself_is_refused(kitchen: Kitchen) -> None:
    # there, the default of such a property is silently lost
    kitchen.write(
        "cookbooks/t/resources/thing.rb",
        "unified_mode true\nprovides :thing\nproperty :before, String, default: 'x'\n"
        "action(:run) { }\n",
    )
    run = kitchen.converge("thing 'x'")
    assert not run.ok
    assert "no property can be called before" in run.error


def test_recipes_are_included_once_and_libraries_are_there(kitchen: Kitchen) -> None:
    kitchen.write("cookbooks/u/metadata.rb", "name 'u'\nversion '1.0.0'\n")
    kitchen.write("cookbooks/t/metadata.rb", "name 't'\nversion '1.0.0'\ndepends 'u'\n")
    kitchen.write("cookbooks/u/attributes/default.rb", "default['u']['a'] = 1\n")
    kitchen.write("cookbooks/t/attributes/default.rb", "default['t'] = node['u']['a'] + 1\n")
    kitchen.write("cookbooks/u/recipes/default.rb", block("u"))
    kitchen.write(
        "cookbooks/t/libraries/help.rb",
        "module Help\n  def helped = 'helped'\nend\nChef::DSL::Recipe.include(Help)\n",
    )
    kitchen.recipe("return if node['t'] == 2\nraise 'not reached'\n", name="early")
    run = kitchen.converge(
        """
        include_recipe 'u', 't::early'
        include_recipe 'u::default'
        file('OUT/h') { content "#{node['t']}" }
        file('OUT/i') { content '' }
        edit_resource(:file, 'OUT/i') { content 'edited' }
        find_resource(:file, 'OUT/h').content helped
        declare_resource(:file, 'OUT/j').content(platform?('debian') ? 'd' : 'o')
        """
    )
    assert run.ok, run.error
    assert notes(kitchen) == ["u"]
    assert [kitchen.read(name) for name in "hij"] == ["helped", "edited", "d"]


def test_search_and_data_bags_are_answered(kitchen: Kitchen) -> None:
    for name, roles in {"one": ["worker"], "two": ["leader"]}.items():
        node = {"name": name, "automatic": {"roles": roles, "ipaddress": f"10.0.0.{len(name)}"}}
        kitchen.write(f"nodes/{name}.json", json.dumps(node))
    kitchen.write("data_bags/people/ada.json", '{"id": "ada", "mail": "a@b"}')
    run = kitchen.converge(
        """
        found = search(:node, 'role:worker').map { |n| [n.name, n['ipaddress']] }
        parts = search(:node, 'name:t*', filter_result: { 'ip' => ['ipaddress'] })
        file('OUT/s') { content [found, parts, data_bag('people'),
                                 data_bag_item('people', 'ada')['mail']].to_json }
        """
    )
    assert run.ok, run.error
    assert json.loads(kitchen.read("s")) == [
        [["one", "10.0.0.3"]],
        [{"ip": "10.0.0.3"}],
        ["ada"],
        "a@b",
    ]


def test_a_missing_recipe_cookbook_or_source_is_named(kitchen: Kitchen) -> None:
    for text, expected in {
        "include_recipe 't::nope'": "no recipe nope",
        "include_recipe 'other'": "cookbook other is not in this run",
        "template 'OUT/x'": "no x.erb in templates/",
        "no_such_resource 'x'": "no_such_resource",
    }.items():
        run = kitchen.converge(text)
        assert not run.ok
        assert expected in run.error
