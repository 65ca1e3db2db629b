#include "runsc/cli.h"

#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "runsc/flags.h"
#include "runsc/help.h"

namespace runsc {

namespace {

absl::Status Bad(const std::string& value, const char* why) {
  return absl::InvalidArgumentError(absl::StrCat(value, why));
}

absl::Status SetPlatform(Config& config, const std::string& name) {
  if (name == "systrap") {
    config.platform = PlatformKind::kSystrap;
  } else if (name == "ptrace") {
    config.platform = PlatformKind::kPtrace;
  } else if (name == "kvm") {
    return Bad("platform kvm", " is not there yet");
  } else {
    return Bad(name, " is not one of systrap, ptrace");
  }
  return absl::OkStatus();
}

absl::Status SetNetwork(Config& config, const std::string& name) {
  config.oci.network_given = true;
  if (name == "none") {
    config.network = NetworkKind::kNone;
  } else if (name == "host") {
    config.network = NetworkKind::kHost;
  } else if (name == "sandbox") {
    return Bad("network sandbox", " is not there yet");
  } else {
    return Bad(name, " is not one of none, host");
  }
  return absl::OkStatus();
}

// A number of bytes as mount(8) has it: 64m, 1g.
bool ParseSize(absl::string_view text, uint64_t& size) {
  int shift = 0;
  if (absl::ConsumeSuffix(&text, "k")) shift = 10;
  if (shift == 0 && absl::ConsumeSuffix(&text, "m")) shift = 20;
  if (shift == 0 && absl::ConsumeSuffix(&text, "g")) shift = 30;
  if (!absl::SimpleAtoi(text, &size) || size == 0 || size > (uint64_t{1} << 62) >> shift)
    return false;
  size <<= shift;
  return true;
}

// The words of runsc's --overlay2: none, or {root,all}:{memory,self,dir=PATH}[,size=BYTES].
absl::Status SetOverlay(Config& config, const std::string& spec) {
  constexpr char kWanted[] = " is not none or {root,all}:{memory,self,dir=PATH}[,size=BYTES]";
  config.oci.overlay_given = true;
  config.overlay_all = false;
  config.overlay_size = 0;
  config.overlay = OverlayKind::kNone;
  if (spec == "none") return absl::OkStatus();
  absl::string_view rest = spec;
  config.overlay_all = absl::ConsumePrefix(&rest, "all:");
  if (!config.overlay_all && !absl::ConsumePrefix(&rest, "root:")) return Bad(spec, kWanted);
  const size_t comma = rest.rfind(",size=");
  if (comma != rest.npos) {
    if (!ParseSize(absl::AsciiStrToLower(rest.substr(comma + 6)), config.overlay_size)) {
      return Bad(spec, kWanted);
    }
    rest = rest.substr(0, comma);
  }
  if (rest == "memory") {
    config.overlay = OverlayKind::kMemory;
  } else if (rest == "self") {
    config.overlay = OverlayKind::kSelf;
  } else if (absl::ConsumePrefix(&rest, "dir=/")) {
    config.overlay = OverlayKind::kDirectory;
    config.overlay_directory = absl::StrCat("/", rest);
  } else {
    return Bad(spec, kWanted);
  }
  return absl::OkStatus();
}

absl::Status SetLogFormat(Config& config, const std::string& name) {
  if (name != "text" && name != "json") return Bad(name, " is not one of text, json");
  config.log_format = name == "json" ? LogFormat::kJson : LogFormat::kText;
  return absl::OkStatus();
}

// The largest number means "leave it" to chown(2) and setresuid(2).
bool ParseId(const std::string& text, uint32_t& id) {
  return absl::SimpleAtoi(text, &id) && id != UINT32_MAX;
}

absl::Status SetUser(Config& config, const std::string& text) {
  const std::pair<std::string, std::string> parts = absl::StrSplit(text, absl::MaxSplits(':', 1));
  const bool has_group = text.find(':') != text.npos;
  User user;
  if (!ParseId(parts.first, user.uid) ||
      !ParseId(has_group ? parts.second : parts.first, user.gid)) {
    return Bad(text, " is not UID or UID:GID, in numbers");
  }
  config.user = user;
  return absl::OkStatus();
}

absl::Status AddVolume(Config& config, const std::string& text) {
  const std::vector<std::string> parts = absl::StrSplit(text, ':');
  if (parts.size() < 2 || parts.size() > 3 || parts[0].empty()) {
    return Bad(text, " is not SRC:DST or SRC:DST:ro");
  }
  if (!parts[1].starts_with('/')) return Bad(parts[1], " does not begin with /");
  const std::string mode = parts.size() == 3 ? parts[2] : "rw";
  if (mode != "ro" && mode != "rw") return Bad(mode, " is not one of ro, rw");
  config.volumes.push_back({parts[0], parts[1], mode == "ro"});
  return absl::OkStatus();
}

absl::Status AddEnv(Config& config, const std::string& entry) {
  const size_t equals = entry.find('=');
  if (equals == entry.npos || equals == 0) return Bad(entry, " is not NAME=VALUE");
  config.env.push_back(entry);
  return absl::OkStatus();
}

absl::Status SetHostname(Config& config, const std::string& name) {
  // The limit of sethostname(2).
  if (name.empty() || name.size() > 64) return Bad(name, " has not 1 to 64 characters");
  config.hostname = name;
  return absl::OkStatus();
}

absl::Status SetRootless(Config& config, const std::string& value) {
  if (value == "auto") return absl::OkStatus();
  if (value != "true" && value != "false") return Bad(value, " is not one of true, false, auto");
  config.oci.rootless = value == "true";
  return absl::OkStatus();
}

absl::Status SetFileAccess(Config& config, const std::string& value) {
  if (value != "exclusive" && value != "shared") {
    return Bad(value, " is not one of exclusive, shared");
  }
  config.oci.shared_root = value == "shared";
  return absl::OkStatus();
}

absl::Status SetHostUds(Config& config, const std::string& value) {
  constexpr std::pair<std::string_view, HostUds> kWords[] = {{"none", HostUds::kNone},
                                                             {"open", HostUds::kOpen},
                                                             {"create", HostUds::kCreate},
                                                             {"all", HostUds::kAll}};
  for (const auto& [word, kind] : kWords) {
    if (value != word) continue;
    config.host_uds = kind;
    return absl::OkStatus();
  }
  return Bad(value, " is not one of none, open, create, all");
}

absl::Status SetHostFifo(Config& config, const std::string& value) {
  if (value != "none" && value != "open") return Bad(value, " is not one of none, open");
  config.host_fifo = value == "open";
  return absl::OkStatus();
}

absl::Status SetStateRoot(Config& config, const std::string& value) {
  config.oci.root = value;
  return absl::OkStatus();
}

absl::Status SetSystemdCgroup(Config& config, const std::string& value) {
  config.oci.systemd_cgroup = value == "true";
  return absl::OkStatus();
}

template <auto Member>
absl::Status SetString(Config& config, const std::string& value) {
  config.*Member = value;
  return absl::OkStatus();
}

template <bool Config::*Member>
absl::Status SetSwitch(Config& config, const std::string& value) {
  config.*Member = value == "true";
  return absl::OkStatus();
}

// These may stand in front of the command, as with runsc, or behind it.
constexpr Flag kGlobalFlags[] = {
    {"platform", "NAME", "systrap, or ptrace [systrap]", SetPlatform},
    {"network", "KIND", "none, or host: the caller's [none]", SetNetwork},
    {"overlay2", "SPEC",
     "{root,all}:{memory,self,dir=PATH}[,size=BYTES], or none: writes reach the host "
     "[do: root:memory, OCI: none]",
     SetOverlay},
    {"host-uds", "KIND",
     "unix sockets of the host in shared files: none, open (connect to them), create (bind new "
     "ones), all [none]",
     SetHostUds},
    {"host-fifo", "KIND", "fifos of the host: none, or open [none]", SetHostFifo},
    {"strace", nullptr, "log system calls with arguments and results", SetSwitch<&Config::strace>},
    {"no-syscall-patching", nullptr, "leave the program's call sites as they are (slower)",
     SetSwitch<&Config::no_syscall_patching>},
    {"patch-eagerly", nullptr, "patch each call site at its first call (for tests)",
     SetSwitch<&Config::patch_eagerly>},
    {"patch-chaos", nullptr, "as well, and interrupt patched calls wherever they are (for tests)",
     SetSwitch<&Config::patch_chaos>},
    {"debug", nullptr, "log what the sandbox does", SetSwitch<&Config::debug>},
    {"log", "FILE", "log to FILE instead of standard error", SetString<&Config::log>},
    {"log-format", "FORMAT", "text, or json [text]", SetLogFormat},
};

// Of the OCI commands: only in front of them, since --root means something else to `do`.
constexpr Flag kOciFlags[] = {
    {"root", "DIR", "where the state of containers is kept [/run/sandbox]", SetStateRoot},
    {"systemd-cgroup", nullptr, "control groups by systemd: cgroupsPath is slice:prefix:name",
     SetSystemdCgroup},
    {"rootless", "BOOL", "true, false, or auto: no rights to control groups are needed [auto]",
     SetRootless},
    {"file-access", "KIND",
     "shared, or exclusive: nobody else changes the root [shared without an overlay]",
     SetFileAccess},
    {"version", nullptr, "print the version", SetSwitch<&Config::version>},
};

constexpr Flag kDoFlags[] = {
    {"root", "DIR", "the host directory shown as / [/]", SetString<&Config::root>},
    {"cwd", "DIR", "where CMD starts [the caller's directory, or /]", SetString<&Config::cwd>},
    {"env", "NAME=VALUE", "set in addition to the caller's environment", AddEnv},
    {"user", "UID[:GID]", "who CMD runs as [the caller]", SetUser},
    {"volume", "SRC:DST[:ro]", "show the host's SRC at DST; writes reach the host", AddVolume},
    {"hostname", "NAME", "[sandbox]", SetHostname},
    {"debug-startup", nullptr, "print when each step of the start was done",
     SetSwitch<&Config::debug_startup>},
};

std::string GeneralHelp() {
  return absl::StrCat(
      "Runs programs behind a Linux kernel in user space.\n\n"
      "Usage: sandbox [FLAGS] do [FLAGS] CMD...       run CMD in a sandbox\n"
      "       sandbox [FLAGS] COMMAND [FLAGS] ID...   create, start, run, state, list, kill, "
      "delete,\n"
      "                                               exec, ps, pause, resume, wait: the command\n"
      "                                               line of OCI runtimes\n"
      "       sandbox help [do|oci|syscalls]          explain; list the system calls\n"
      "       sandbox --version\n\n",
      "Flags:\n", DescribeFlags(kGlobalFlags), "\nOf the OCI commands:\n",
      DescribeFlags(kOciFlags));
}

std::string DoHelp() {
  return absl::StrCat(
      "Runs CMD on the host's files behind a kernel of its own. What it changes outside of "
      "volumes\n"
      "stays in memory.\n\n"
      "Usage: sandbox do [FLAGS] CMD...\n\n"
      "Flags:\n",
      DescribeFlags(kGlobalFlags), DescribeFlags(kDoFlags),
      "\nExit status: that of CMD; 128+n when signal n ended it; 127 when it does not exist; 126\n"
      "when it cannot be executed; 125 when the sandbox could not be set up or broke.\n");
}

CommandLine Print(std::string text) { return CommandLine{.text = std::move(text)}; }

absl::StatusOr<CommandLine> ParseHelp(std::span<char* const> args) {
  const std::string topic = args.empty() ? "" : args[0];
  if (topic.empty() || topic == "help") return Print(GeneralHelp());
  if (topic == "do") return Print(DoHelp());
  if (topic == "oci") return CommandLine{.action = CommandLine::Action::kOci, .text = "help"};
  if (topic == "syscalls") return Print(SyscallsText());
  return absl::InvalidArgumentError(absl::StrCat("help: there is no topic ", topic));
}

bool AsksForHelp(std::span<char* const> args) {
  if (args.empty()) return false;
  const std::string_view first = args[0];
  return first == "--help" || first == "-h" || first == "-help";
}

absl::StatusOr<CommandLine> ParseDo(Config config, std::span<char* const> args) {
  if (AsksForHelp(args)) return Print(DoHelp());
  std::vector<Flag> flags(std::begin(kGlobalFlags), std::end(kGlobalFlags));
  flags.insert(flags.end(), std::begin(kDoFlags), std::end(kDoFlags));
  const absl::StatusOr<size_t> used = ApplyFlags(flags, args, config);
  if (!used.ok()) return used.status();
  args = args.subspan(*used);
  if (args.empty()) {
    return absl::InvalidArgumentError("do: no command given; `sandbox help do` explains");
  }
  config.argv.assign(args.begin(), args.end());
  return CommandLine{.action = CommandLine::Action::kDo, .config = std::move(config)};
}

}  // namespace

absl::StatusOr<CommandLine> ParseCommandLine(int argc, char** argv) {
  std::span<char* const> args(argv + 1, argc > 0 ? static_cast<size_t>(argc - 1) : 0);
  if (AsksForHelp(args)) return Print(GeneralHelp());
  if (!args.empty() &&
      (args[0] == std::string_view("--version") || args[0] == std::string_view("-version") ||
       args[0] == std::string_view("-v"))) {
    return Print(VersionText());
  }
  Config config;
  std::vector<Flag> flags(std::begin(kGlobalFlags), std::end(kGlobalFlags));
  flags.insert(flags.end(), std::begin(kOciFlags), std::end(kOciFlags));
  const absl::StatusOr<size_t> used = ApplyFlags(flags, args, config);
  if (!used.ok()) return used.status();
  args = args.subspan(*used);
  if (config.version) return Print(VersionText());
  if (args.empty()) return absl::InvalidArgumentError("no command given; see `sandbox help`");
  const std::string command = args[0];
  args = args.subspan(1);
  if (command == "do") return ParseDo(std::move(config), args);
  if (command == "help") return ParseHelp(args);
  return CommandLine{.action = CommandLine::Action::kOci,
                     .config = std::move(config),
                     .text = command,
                     .arguments = args};
}

absl::Status SetGlobalFlag(Config& config, const std::string& name, const std::string& value) {
  for (const Flag& flag : kGlobalFlags) {
    if (name == flag.name) return flag.apply(config, value);
  }
  return absl::NotFoundError(absl::StrCat("unknown flag ", name));
}

}  // namespace runsc
