"""`tf-sg2`: its table of commands, its help, and one line for what a user got wrong."""

import os

import pytest
from absl import flags as absl_flags

from native_ops import require_native
from tf_sg2 import config
from tf_sg2.commands import flags as flags_module
from tf_sg2.commands import main as cli
from tf_sg2.commands.exit_status import main_guard
from tf_sg2.commands.flags import CommandFlags, parse
from tf_sg2.errors import InputError
from tf_sg2.ops import current_implementation, implementation
from tf_sg2.ops.implementation import native_missing
from tf_sg2.training.commands.train import define_flags as define_train_flags

every_command = pytest.mark.parametrize("command", cli.COMMANDS)


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_help_lists_every_command(arguments, capsys):
    assert cli.main(arguments) == 0
    output = capsys.readouterr().out
    for name, (_, what) in cli.COMMANDS.items():
        assert name in output
        assert what in output


@every_command
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_command_explains_itself(command, flag, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main([command, flag])
    assert caught.value.code == 0
    output = capsys.readouterr().out
    assert f"Flags of tf-sg2 {command}:" in output
    assert "--" in output.split("Flags of")[1]


@every_command
def test_unknown_flag_is_one_line(command, capsys):
    assert cli.main([command, "--no_such_flag=1"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert "no_such_flag" in captured.err
    assert f"tf-sg2 {command} --help" in captured.err
    assert not captured.out


@every_command
def test_stray_argument_is_one_line(command, capsys):
    assert cli.main([command, "stray"]) == 2
    error = capsys.readouterr().err
    assert error == (
        f"error: tf-sg2 {command} takes flags only, but was given 'stray'; "
        f"tf-sg2 {command} --help lists the flags\n"
    )


def test_unknown_command_is_one_line(capsys):
    assert cli.main(["tarin"]) == 2
    error = capsys.readouterr().err
    assert error == (
        f"error: there is no command 'tarin'; the commands are {', '.join(cli.COMMANDS)}\n"
    )


def define(flags: CommandFlags) -> None:
    flags.integer("count", 3, "how many")
    flags.string("out", None, "where to")


def test_flags_are_parsed():
    values = parse("draw", ["--count=5", "--out", "here"], define, "Draws.")
    assert (values.count, values.out) == (5, "here")
    values = parse("draw", [], define, "Draws.")
    assert (values.count, values.out) == (3, None)


def test_dashes_in_values_stay():
    values = parse("draw", ["--out=a-b_c"], define, "Draws.")
    assert values.out == "a-b_c"
    values = parse("draw", ["--out", "a-b_c"], define, "Draws.")
    assert values.out == "a-b_c"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--count=many"], "flag --count=many: .*tf-sg2 draw --help lists the flags"),
        (["--counts=3"], "Unknown command line flag 'counts'. Did you mean: count"),
        (["--out"], "Missing value for flag --out"),
        (["5"], "tf-sg2 draw takes flags only, but was given '5'"),
    ],
)
def test_unusable_flags_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        parse("draw", arguments, define, "Draws.")


def test_dry_run_prints_the_configuration_and_the_networks_and_writes_nothing(
    tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    size = "--generator.image_size=16x20 --discriminator.image_size=16x20".split()
    assert cli.main(["train", "--preset=cards", "--run=new", "--dry-run", *size]) == 0
    output = capsys.readouterr().out
    assert '"r1_gamma"' in output
    assert "synthesis" in output
    assert "Multiply-adds" in output
    assert not list(tmp_path.iterdir())


def test_every_number_of_a_configuration_has_its_flag():
    flags = CommandFlags()
    define_train_flags(flags)
    assert set(config.field_names()) <= set(flags.values)


@pytest.mark.parametrize("text", ["nan", "NaN", "-nan"])
def test_a_flag_that_is_no_number_is_refused(text):
    def bounded(flags):
        flags.number("minutes", 1.0, "how long", lower_bound=0)

    with pytest.raises(InputError, match=r"--minutes is nan; .*tf-sg2 draw --help"):
        parse("draw", [f"--minutes={text}"], bounded, "Draws.")


def test_a_required_flag_that_is_missing_or_empty_is_refused():
    def required(flags):
        flags.string("out", None, "folder of pictures", required=True)

    for arguments in ([], ["--out="]):
        with pytest.raises(InputError) as caught:
            parse("draw", arguments, required, "Draws.")
        assert str(caught.value) == (
            "--out is needed: folder of pictures (tf-sg2 draw --help lists the flags)"
        )


def test_process_wide_flags_stay_untouched():
    parse("draw", ["--count=5"], define, "Draws.")
    assert "count" not in absl_flags.FLAGS


def test_guard_turns_errors_into_statuses(capsys):
    def refuse():
        raise InputError("there is no folder 'x'; make it")

    def interrupt():
        raise KeyboardInterrupt

    def fail():
        raise RuntimeError("a defect")

    assert main_guard(refuse) == 2
    assert capsys.readouterr().err == "error: there is no folder 'x'; make it\n"
    assert main_guard(interrupt) == 130
    assert main_guard(lambda: None) == 0
    with pytest.raises(RuntimeError, match="a defect"):
        main_guard(fail)


@every_command
def test_every_command_takes_the_implementation_of_the_ops(command, capsys):
    assert cli.main([command, "--ops=fast"]) == 2
    assert "--ops=fast" in capsys.readouterr().err


@pytest.mark.parametrize("name", flags_module.OPS_CHOICES)
def test_ops_flag_chooses_the_implementation_of_the_process(name, monkeypatch):
    monkeypatch.setenv(flags_module.OPS_VARIABLE, "auto")
    if name == "native":
        require_native()
    parse("draw", [f"--ops={name}"], define, "Draws.")
    native = name != "tensorflow" and native_missing() is None
    assert current_implementation() == ("native" if native else "tensorflow")
    parse("draw", [], define, "Draws.")
    assert os.environ[implementation.VARIABLE] == name


def test_ops_flag_and_the_switch_of_the_ops_have_the_same_names():
    assert flags_module.OPS_CHOICES == implementation.IMPLEMENTATIONS
    assert flags_module.OPS_VARIABLE == implementation.VARIABLE
