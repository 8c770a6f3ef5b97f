"""`make setup`: which packages each purpose needs, and that no daemon starts because one was installed."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETUP = ROOT / "tools" / "setup"
PRIVATE = """
base=$1 packages=$2
mount -t tmpfs tmpfs $base
mkdir $base/upper $base/work $base/root
mount -t overlay overlay -o lowerdir=/,upperdir=$base/upper,workdir=$base/work $base/root
cd $base/root
mount -t proc proc proc
mount --rbind /dev dev
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mkdir tmp/repository checkout
mount --bind $3 checkout
cp $packages/*.deb tmp/repository
cp $3/tools/packages tmp/packages
rm -f usr/sbin/policy-rc.d etc/apt/sources.list.d/*
: > etc/apt/sources.list
rm -f sbin/runlevel
printf '#!/bin/sh\\necho N 5\\n' > sbin/runlevel  # as on a machine that has booted
chmod +x sbin/runlevel
rm -rf usr/lib/modules  # a kernel without WireGuard
exec chroot . sh -ec "$4"
"""
"""A copy-on-write root and network of its own, with the checkout and without a source of packages but the given one."""
POSTINST = """#!/bin/sh
set -e
if deb-systemd-helper --quiet was-enabled loud-daemon.service; then
    deb-systemd-helper enable loud-daemon.service >/dev/null || true
else
    deb-systemd-helper update-state loud-daemon.service >/dev/null || true
fi
update-rc.d loud-daemon defaults >/dev/null
invoke-rc.d --skip-systemd-native loud-daemon start || exit 1
"""
"""What debhelper writes into the packages of daemons."""
FILES = {
    "DEBIAN/control": "Package: loud-daemon\nVersion: 1\nArchitecture: all\nMaintainer: Nobody <nobody@example.net>\n"
    "Description: a daemon that starts when it is installed\n",
    "DEBIAN/postinst": POSTINST,
    "etc/init.d/loud-daemon": "#!/bin/sh\n### BEGIN INIT INFO\n# Provides: loud-daemon\n# Required-Start:\n"
    "# Required-Stop:\n# Default-Start: 2 3 4 5\n# Default-Stop: 0 1 6\n### END INIT INFO\n"
    '[ "$1" = start ] && touch /tmp/started && /usr/bin/python3 /usr/bin/loud-daemon\nexit 0\n',
    "usr/bin/loud-daemon": "import os, signal, socket\nlistening = socket.create_server(('', 3478))\n"
    "if os.fork() == 0:\n    os.setsid()\n    os.closerange(0, 3)\n    signal.pause()\n",
    "lib/systemd/system/loud-daemon.service": "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n",
}
LOOK = """
find /etc/systemd/system /etc/rc?.d -name '*loud-daemon*' | grep -v '/K' || echo not enabled
ls /tmp/started 2>/dev/null || echo not started
ls /usr/sbin/policy-rc.d* 2>/dev/null || echo no policy
ss -Hlntu | awk '{print $1, $5}' | grep . || echo no port
dpkg-query --show loud-daemon
"""
SET_UP = """
rm -f /usr/bin/wireguard-go
cd /tmp/repository
deb=wireguard-go.deb
dpkg-deb --field $deb > Packages
echo "Filename: ./$deb\nSize: $(stat -c %s $deb)\nSHA256: $(sha256sum $deb | cut -c-64)" >> Packages
echo 'deb [trusted=yes] file:/tmp/repository ./' > /etc/apt/sources.list
find /etc/systemd/system /etc/rc?.d > /tmp/before
/checkout/tools/setup user
find /etc/systemd/system /etc/rc?.d -newer /tmp/before -type l -not -name 'K*' | grep . || echo nothing enabled
"""
"""A user's set-up where `wireguard-go` is missing, and brings a daemon."""


def packages(purpose):
    told = subprocess.run([SETUP, "--packages", purpose], capture_output=True, text=True, check=True).stdout
    return set(told.split())


def test_a_user_needs_fewer_packages_than_the_demo_and_that_fewer_than_the_tests():
    user, demo, tests = map(packages, ("user", "demo", "tests"))
    assert user < demo < tests
    assert user == {"wireguard-go"}
    assert not demo & {"coturn", "miniupnpd-nftables", "tinyproxy-bin"}


def test_the_help_says_which_packages_each_purpose_installs():
    told = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for purpose in ("user", "demo", "tests"):
        (line,) = (line for line in told.splitlines() if line.startswith(f"System packages of {purpose} "))
        assert packages(purpose) <= set(line.split())


def test_each_target_installs_what_its_purpose_needs_and_no_more():
    for target, purpose in (("setup", "user"), ("setup-demo", "demo"), ("demo", "demo"), ("test", "tests")):
        steps = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=True)
        assert re.findall(r"^tools/setup (.*)$", steps.stdout, re.MULTILINE) == [purpose]


@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="not Debian")
def test_no_package_of_a_users_set_up_brings_a_daemon():
    here = {name for name in packages("user") if shutil.which(name)}
    for package in here:
        files = subprocess.run(["dpkg-query", "--listfiles", package], capture_output=True, text=True, check=True)
        assert not re.findall(r"/(?:systemd/system|init\.d|xinetd\.d)/.*", files.stdout)


@pytest.fixture
def loud_daemon(tmp_path):
    """A package whose daemon is enabled and started by its installation."""
    if os.geteuid() != 0 or shutil.which("dpkg-deb") is None or not Path("/etc/init.d").is_dir():
        pytest.skip("needs root on Debian: it installs a package into a root of its own")
    for package, more in (("loud-daemon", {}), ("wireguard-go", {"usr/bin/wireguard-go": "#!/bin/sh\n"})):
        for name, text in (FILES | more).items():
            file = tmp_path / package / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text.replace("Package: loud-daemon", f"Package: {package}"))
            file.chmod(0o644 if name.endswith(".service") else 0o755)
        made = tmp_path / f"{package}.deb"
        subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tmp_path / package, made], check=True)
    (tmp_path / "base").mkdir()

    def run(commands):
        apart = ("--mount", "--net", "--pid", "--fork", "--kill-child", "--propagation", "private")
        enter = ("unshare", *apart, "sh", "-ec", PRIVATE, "sh")
        done = subprocess.run(
            [*enter, tmp_path / "base", tmp_path, ROOT, commands],
            capture_output=True, text=True, check=False, timeout=100,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.mark.privileged
def test_the_packages_daemon_would_start_by_itself(loud_daemon):
    told = loud_daemon(f"apt-get install -y -qq /tmp/repository/loud-daemon.deb\n{LOOK}")
    assert "/tmp/started" in told
    assert "multi-user.target.wants/loud-daemon.service" in told
    assert "tcp 0.0.0.0:3478" in told


@pytest.mark.privileged
@pytest.mark.skipif(subprocess.run([SETUP, "--check"], check=False).returncode, reason="needs .venv: run make test")
def test_after_a_users_set_up_no_daemon_is_enabled_and_no_port_open(loud_daemon):
    told = loud_daemon(f"{SET_UP}\n{LOOK.replace('dpkg-query --show loud-daemon', 'dpkg-query --show wireguard-go')}")
    assert "setup: installing wireguard-go: WireGuard where the kernel has none" in told
    assert told.endswith("nothing enabled\nnot enabled\nnot started\nno policy\nno port\nwireguard-go\t1\n")


@pytest.mark.privileged
def test_setup_neither_starts_nor_enables_a_daemon_that_it_installs_and_leaves_no_policy(loud_daemon):
    told = loud_daemon(f"/tmp/packages /tmp/repository/loud-daemon.deb\n{LOOK}")
    assert told.endswith("not enabled\nnot started\nno policy\nno port\nloud-daemon\t1\n")
    assert told.count("loud-daemon is installed, and not started with the machine") == 1


@pytest.mark.privileged
def test_a_policy_that_was_there_is_there_again_after_setup_also_after_one_that_was_killed(loud_daemon):
    told = loud_daemon(
        "printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d.before-meshloom\n"
        "printf '#!/bin/sh\\nexit 0\\n' > /usr/sbin/policy-rc.d\n"  # setup's own, which a killed run has left
        f"/tmp/packages /tmp/repository/loud-daemon.deb\n{LOOK}\ncat /usr/sbin/policy-rc.d"
    )
    assert "not started\n/usr/sbin/policy-rc.d\nno port\nloud-daemon\t1\n" in told
    assert told.endswith("exit 101\n")


@pytest.mark.privileged
def test_a_daemon_that_was_there_before_setup_still_restarts_when_it_is_upgraded(loud_daemon):
    told = loud_daemon(
        "apt-get install -y -qq /tmp/repository/loud-daemon.deb\nrm /tmp/started\n"
        f"/tmp/packages --reinstall /tmp/repository/loud-daemon.deb\n{LOOK}"
    )
    assert "multi-user.target.wants/loud-daemon.service" in told
    assert "/tmp/started" in told
