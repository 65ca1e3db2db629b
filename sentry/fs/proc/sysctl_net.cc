// /proc/sys/net: proc_sys_net(5), Documentation/networking/ip-sysctl.rst, as a namespace of
// Linux 6.18 begins.
#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "sentry/fs/proc/proc_internal.h"
#include "sentry/net/inet/inet_stack.h"
#include "sentry/net/namespace.h"
#include "sentry/net/sysctl_values.h"

namespace sentry::proc {
namespace {

constexpr Sysctl kNetSysctls[] = {
    {"core", "busy_poll", "0"},
    {"core", "busy_read", "0"},
    {"core", "default_qdisc", "pfifo_fast"},
    {"core", "dev_weight", "64"},
    {"core", "message_burst", "10"},
    {"core", "message_cost", "5"},
    {"core", "netdev_budget", "300"},
    {"core", "netdev_budget_usecs", "8000"},
    {"core", "netdev_max_backlog", "1000"},
    {"core", "optmem_max", "131072"},
    {"core", "rmem_default", "212992"},
    {"core", "rmem_max", "212992"},
    {"core", "rps_default_mask", "0"},
    {"core", "somaxconn", "4096"},
    {"core", "txrehash", "1"},
    {"core", "wmem_default", "212992"},
    {"core", "wmem_max", "212992"},
    {"ipv4", "fib_multipath_hash_fields", "7"},
    {"ipv4", "fib_multipath_hash_policy", "0"},
    {"ipv4", "fib_multipath_hash_seed", "0"},
    {"ipv4", "fib_multipath_use_neigh", "0"},
    {"ipv4", "fib_notify_on_flag_change", "0"},
    {"ipv4", "fwmark_reflect", "0"},
    {"ipv4", "icmp_echo_enable_probe", "0"},
    {"ipv4", "icmp_echo_ignore_all", "0"},
    {"ipv4", "icmp_echo_ignore_broadcasts", "1"},
    {"ipv4", "icmp_errors_use_inbound_ifaddr", "0"},
    {"ipv4", "icmp_ignore_bogus_error_responses", "1"},
    {"ipv4", "icmp_msgs_burst", "50"},
    {"ipv4", "icmp_msgs_per_sec", "1000"},
    {"ipv4", "icmp_ratelimit", "1000"},
    {"ipv4", "icmp_ratemask", "6168"},
    {"ipv4", "igmp_link_local_mcast_reports", "1"},
    {"ipv4", "igmp_max_memberships", "20"},
    {"ipv4", "igmp_max_msf", "10"},
    {"ipv4", "igmp_qrv", "2"},
    {"ipv4", "ip_autobind_reuse", "0"},
    {"ipv4", "ip_default_ttl", "64"},
    {"ipv4", "ip_dynaddr", "0"},
    {"ipv4", "ip_early_demux", "1"},
    {"ipv4", "ip_forward", "0"},
    {"ipv4", "ip_forward_update_priority", "1"},
    {"ipv4", "ip_forward_use_pmtu", "0"},
    {"ipv4", "ip_local_reserved_ports", ""},
    {"ipv4", "ip_no_pmtu_disc", "0"},
    {"ipv4", "ip_nonlocal_bind", "0"},
    {"ipv4", "ipfrag_high_thresh", "4194304"},
    {"ipv4", "ipfrag_low_thresh", "3145728"},
    {"ipv4", "ipfrag_max_dist", "64"},
    {"ipv4", "ipfrag_time", "30"},
    {"ipv4", "nexthop_compat_mode", "1"},
    {"ipv4", "raw_l3mdev_accept", "1"},
    {"ipv4", "tcp_abort_on_overflow", "0"},
    {"ipv4", "tcp_adv_win_scale", "1"},
    {"ipv4", "tcp_allowed_congestion_control", "reno cubic"},
    {"ipv4", "tcp_app_win", "31"},
    {"ipv4", "tcp_autocorking", "1"},
    {"ipv4", "tcp_available_congestion_control", "reno cubic", 0444},
    {"ipv4", "tcp_base_mss", "1024"},
    {"ipv4", "tcp_challenge_ack_limit", "2147483647"},
    {"ipv4", "tcp_congestion_control", "cubic"},
    {"ipv4", "tcp_dsack", "1"},
    {"ipv4", "tcp_early_demux", "1"},
    {"ipv4", "tcp_early_retrans", "3"},
    {"ipv4", "tcp_ecn", "2"},
    {"ipv4", "tcp_ecn_fallback", "1"},
    {"ipv4", "tcp_fack", "0"},
    {"ipv4", "tcp_fastopen", "1"},
    {"ipv4", "tcp_fastopen_blackhole_timeout_sec", "0"},
    {"ipv4", "tcp_fin_timeout", "60"},
    {"ipv4", "tcp_frto", "2"},
    {"ipv4", "tcp_invalid_ratelimit", "500"},
    {"ipv4", "tcp_keepalive_intvl", "75"},
    {"ipv4", "tcp_keepalive_probes", "9"},
    {"ipv4", "tcp_keepalive_time", "7200"},
    {"ipv4", "tcp_l3mdev_accept", "0"},
    {"ipv4", "tcp_limit_output_bytes", "4194304"},
    {"ipv4", "tcp_max_orphans", "131072"},
    {"ipv4", "tcp_max_reordering", "300"},
    {"ipv4", "tcp_max_syn_backlog", "2048"},
    {"ipv4", "tcp_max_tw_buckets", "131072"},
    {"ipv4", "tcp_mem", "287901\t383868\t575802"},
    {"ipv4", "tcp_migrate_req", "0"},
    {"ipv4", "tcp_min_rtt_wlen", "300"},
    {"ipv4", "tcp_min_snd_mss", "48"},
    {"ipv4", "tcp_min_tso_segs", "2"},
    {"ipv4", "tcp_moderate_rcvbuf", "1"},
    {"ipv4", "tcp_mtu_probing", "0"},
    {"ipv4", "tcp_no_metrics_save", "0"},
    {"ipv4", "tcp_no_ssthresh_metrics_save", "1"},
    {"ipv4", "tcp_notsent_lowat", "4294967295"},
    {"ipv4", "tcp_orphan_retries", "0"},
    {"ipv4", "tcp_pacing_ca_ratio", "120"},
    {"ipv4", "tcp_pacing_ss_ratio", "200"},
    {"ipv4", "tcp_pingpong_thresh", "1"},
    {"ipv4", "tcp_probe_interval", "600"},
    {"ipv4", "tcp_probe_threshold", "8"},
    {"ipv4", "tcp_recovery", "1"},
    {"ipv4", "tcp_reflect_tos", "0"},
    {"ipv4", "tcp_reordering", "3"},
    {"ipv4", "tcp_retrans_collapse", "1"},
    {"ipv4", "tcp_retries1", "3"},
    {"ipv4", "tcp_retries2", "15"},
    {"ipv4", "tcp_rfc1337", "0"},
    {"ipv4", "tcp_rmem", "4096\t131072\t6291456"},
    {"ipv4", "tcp_rto_max_ms", "120000"},
    {"ipv4", "tcp_rto_min_us", "200000"},
    {"ipv4", "tcp_sack", "1"},
    {"ipv4", "tcp_shrink_window", "0"},
    {"ipv4", "tcp_slow_start_after_idle", "1"},
    {"ipv4", "tcp_stdurg", "0"},
    {"ipv4", "tcp_syn_linear_timeouts", "4"},
    {"ipv4", "tcp_syn_retries", "6"},
    {"ipv4", "tcp_synack_retries", "5"},
    {"ipv4", "tcp_syncookies", "1"},
    {"ipv4", "tcp_thin_linear_timeouts", "0"},
    {"ipv4", "tcp_timestamps", "1"},
    {"ipv4", "tcp_tso_win_divisor", "3"},
    {"ipv4", "tcp_tw_reuse", "2"},
    {"ipv4", "tcp_tw_reuse_delay", "1000"},
    {"ipv4", "tcp_window_scaling", "1"},
    {"ipv4", "tcp_wmem", "4096\t16384\t4194304"},
    {"ipv4", "tcp_workaround_signed_windows", "0"},
    {"ipv4", "udp_early_demux", "1"},
    {"ipv4", "udp_l3mdev_accept", "0"},
    {"ipv4", "udp_mem", "575802\t767736\t1151604"},
    {"ipv4", "udp_rmem_min", "4096"},
    {"ipv4", "udp_wmem_min", "4096"},
    {"ipv4/neigh/default", "anycast_delay", "100"},
    {"ipv4/neigh/default", "app_solicit", "0"},
    {"ipv4/neigh/default", "base_reachable_time", "30"},
    {"ipv4/neigh/default", "base_reachable_time_ms", "30000"},
    {"ipv4/neigh/default", "delay_first_probe_time", "5"},
    {"ipv4/neigh/default", "gc_interval", "30"},
    {"ipv4/neigh/default", "gc_stale_time", "60"},
    {"ipv4/neigh/default", "gc_thresh1", "128"},
    {"ipv4/neigh/default", "gc_thresh2", "512"},
    {"ipv4/neigh/default", "gc_thresh3", "1024"},
    {"ipv4/neigh/default", "interval_probe_time_ms", "5000"},
    {"ipv4/neigh/default", "locktime", "100"},
    {"ipv4/neigh/default", "mcast_resolicit", "0"},
    {"ipv4/neigh/default", "mcast_solicit", "3"},
    {"ipv4/neigh/default", "proxy_delay", "80"},
    {"ipv4/neigh/default", "proxy_qlen", "64"},
    {"ipv4/neigh/default", "retrans_time", "100"},
    {"ipv4/neigh/default", "retrans_time_ms", "1000"},
    {"ipv4/neigh/default", "ucast_solicit", "3"},
    {"ipv4/neigh/default", "unres_qlen", "101"},
    {"ipv4/neigh/default", "unres_qlen_bytes", "212992"},
    {"ipv6", "anycast_src_echo_reply", "0"},
    {"ipv6", "auto_flowlabels", "1"},
    {"ipv6", "bindv6only", "0"},
    {"ipv6", "fib_multipath_hash_fields", "7"},
    {"ipv6", "fib_multipath_hash_policy", "0"},
    {"ipv6", "fib_notify_on_flag_change", "0"},
    {"ipv6", "flowlabel_consistency", "1"},
    {"ipv6", "flowlabel_reflect", "0"},
    {"ipv6", "flowlabel_state_ranges", "0"},
    {"ipv6", "fwmark_reflect", "0"},
    {"ipv6", "idgen_delay", "1"},
    {"ipv6", "idgen_retries", "3"},
    {"ipv6", "ip6frag_high_thresh", "4194304"},
    {"ipv6", "ip6frag_low_thresh", "3145728"},
    {"ipv6", "ip6frag_time", "60"},
    {"ipv6", "ip_nonlocal_bind", "0"},
    {"ipv6", "max_dst_opts_length", "2147483647"},
    {"ipv6", "max_dst_opts_number", "8"},
    {"ipv6", "max_hbh_length", "2147483647"},
    {"ipv6", "max_hbh_opts_number", "8"},
    {"unix", "max_dgram_qlen", "10"},
};

// Of each interface, and of the two that stand for all and for those to come.
constexpr Sysctl kIpv4Conf[] = {
    {"", "accept_local", "0"},
    {"", "accept_redirects", "1"},
    {"", "accept_source_route", "1"},
    {"", "arp_accept", "0"},
    {"", "arp_announce", "0"},
    {"", "arp_evict_nocarrier", "1"},
    {"", "arp_filter", "0"},
    {"", "arp_ignore", "0"},
    {"", "arp_notify", "0"},
    {"", "bc_forwarding", "0"},
    {"", "bootp_relay", "0"},
    {"", "disable_policy", "1"},
    {"", "disable_xfrm", "1"},
    {"", "drop_gratuitous_arp", "0"},
    {"", "drop_unicast_in_l2_multicast", "0"},
    {"", "force_igmp_version", "0"},
    {"", "forwarding", "0"},
    {"", "igmpv2_unsolicited_report_interval", "10000"},
    {"", "igmpv3_unsolicited_report_interval", "1000"},
    {"", "ignore_routes_with_linkdown", "0"},
    {"", "log_martians", "0"},
    {"", "mc_forwarding", "0"},
    {"", "medium_id", "0"},
    {"", "promote_secondaries", "0"},
    {"", "proxy_arp", "0"},
    {"", "proxy_arp_pvlan", "0"},
    {"", "route_localnet", "0"},
    {"", "rp_filter", "0"},
    {"", "secure_redirects", "1"},
    {"", "send_redirects", "1"},
    {"", "shared_media", "1"},
    {"", "src_valid_mark", "0"},
    {"", "tag", "0"},
};

// Of each interface, and of the two that stand for all and for those to come.
constexpr Sysctl kIpv6Conf[] = {
    {"", "accept_dad", "-1"},
    {"", "accept_ra", "1"},
    {"", "accept_ra_defrtr", "1"},
    {"", "accept_ra_from_local", "0"},
    {"", "accept_ra_min_hop_limit", "1"},
    {"", "accept_ra_min_lft", "0"},
    {"", "accept_ra_mtu", "1"},
    {"", "accept_ra_pinfo", "1"},
    {"", "accept_ra_rt_info_max_plen", "0"},
    {"", "accept_ra_rt_info_min_plen", "0"},
    {"", "accept_ra_rtr_pref", "1"},
    {"", "accept_redirects", "1"},
    {"", "accept_source_route", "0"},
    {"", "addr_gen_mode", "0"},
    {"", "autoconf", "1"},
    {"", "dad_transmits", "1"},
    {"", "disable_ipv6", "0"},
    {"", "disable_policy", "0"},
    {"", "drop_unicast_in_l2_multicast", "0"},
    {"", "drop_unsolicited_na", "0"},
    {"", "enhanced_dad", "1"},
    {"", "force_mld_version", "0"},
    {"", "force_tllao", "0"},
    {"", "forwarding", "0"},
    {"", "hop_limit", "64"},
    {"", "ignore_routes_with_linkdown", "0"},
    {"", "keep_addr_on_down", "0"},
    {"", "max_addresses", "16"},
    {"", "max_desync_factor", "600"},
    {"", "mc_forwarding", "0"},
    {"", "mldv1_unsolicited_report_interval", "10000"},
    {"", "mldv2_unsolicited_report_interval", "1000"},
    {"", "mtu", "65536"},
    {"", "ndisc_notify", "0"},
    {"", "ndisc_tclass", "0"},
    {"", "optimistic_dad", "0"},
    {"", "proxy_ndp", "0"},
    {"", "ra_defrtr_metric", "1024"},
    {"", "regen_max_retry", "3"},
    {"", "regen_min_advance", "2"},
    {"", "router_probe_interval", "60"},
    {"", "router_solicitation_delay", "1"},
    {"", "router_solicitation_interval", "4"},
    {"", "router_solicitation_max_interval", "3600"},
    {"", "router_solicitations", "-1"},
    {"", "suppress_frag_ndisc", "1"},
    {"", "temp_prefered_lft", "86400"},
    {"", "temp_valid_lft", "604800"},
    {"", "use_oif_addrs_only", "0"},
    {"", "use_optimistic", "0"},
    {"", "use_tempaddr", "-1"},
};

// Where lo differs from what an interface begins with.
constexpr Sysctl kOrdinary[] = {
    {"ipv4", "disable_policy", "0"}, {"ipv4", "disable_xfrm", "0"}, {"ipv6", "accept_dad", "1"},
    {"ipv6", "mtu", "1280"},         {"ipv6", "use_tempaddr", "0"},
};

std::string_view OrdinaryValue(std::string_view family, const Sysctl& row) {
  for (const Sysctl& other : kOrdinary) {
    if (other.directory == family && other.name == row.name) return other.value;
  }
  return row.value;
}

std::vector<std::string_view> Words(std::string_view text) {
  constexpr std::string_view kBlanks = " \t";
  std::vector<std::string_view> words;
  for (;;) {
    text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
    if (text.empty()) return words;
    const size_t size = std::min(text.find_first_of(kBlanks), text.size());
    words.push_back(text.substr(0, size));
    text.remove_prefix(size);
  }
}

// As many words as there were, numbers where there were numbers: EINVAL otherwise.
Status StoreWords(SysctlValues& values, const std::string& path, std::string_view old,
                  std::string_view text) {
  constexpr size_t kMaxValue = 256;
  const std::string_view line = FirstLine(text);
  const auto before = Words(old), after = Words(line);
  if (line.size() > kMaxValue) return Errno(EINVAL);
  for (size_t i = 0; i < before.size(); ++i) {
    if (i >= after.size()) return Errno(EINVAL);
    if (ParseNumber(before[i]).ok() && !ParseNumber(after[i]).ok()) return Errno(EINVAL);
  }
  std::string value;
  for (const std::string_view word : after) {
    if (!value.empty()) value += '\t';
    value += word;
  }
  values.Set(path, std::move(value));
  return kOk;
}

// Two numbers of a range, the first not above the second: EINVAL.
Result<std::pair<uint32_t, uint32_t>> ReadRange(std::string_view text) {
  const auto words = Words(FirstLine(text));
  if (words.size() != 2) return Errno(EINVAL);
  const int64_t first = TRY(ParseNumber(words[0])), last = TRY(ParseNumber(words[1]));
  if (first < 0 || last < 0 || first > UINT32_MAX || last > UINT32_MAX) return Errno(EINVAL);
  return std::pair(static_cast<uint32_t>(first), static_cast<uint32_t>(last));
}

Status SetPortRange(InetStack& stack, std::string_view text) {
  const auto [first, last] = TRY(ReadRange(text));
  if (first == 0 || last > UINT16_MAX || first > last) return Errno(EINVAL);
  stack.first_ephemeral = static_cast<uint16_t>(first);
  stack.last_ephemeral = static_cast<uint16_t>(last);
  return kOk;
}

Status SetUnprivilegedStart(InetStack& stack, std::string_view text) {
  const int64_t port = TRY(ParseNumber(FirstLine(text)));
  if (port < 0 || port > UINT16_MAX) return Errno(EINVAL);
  stack.first_unprivileged = static_cast<uint16_t>(port);
  return kOk;
}

// A range that holds nobody shows as "1 0".
Status SetPingGroups(InetStack& stack, std::string_view text) {
  const auto [first, last] = TRY(ReadRange(text));
  stack.first_ping_group = first <= last ? first : 1;
  stack.last_ping_group = first <= last ? last : 0;
  return kOk;
}

// /proc/sys/net, made when somebody first looks into it. What a socket of the sandbox heeds takes
// effect; the rest is what a namespace begins with, and what is written is kept and shown.
class NetSysctls final : public PseudoDirectory {
 public:
  explicit NetSysctls(Kernel& kernel)
      : PseudoDirectory({.dev = kProcDevice, .ino = kFirstIno, .mode = S_IFDIR | 0555}),
        kernel_(kernel) {}

  Result<Ref<Inode>> Find(std::string_view name) override { return Tree()->Find(name); }
  Status List(std::vector<DirEntry>& entries) override { return Tree()->List(entries); }

 private:
  static constexpr uint64_t kFirstIno = 1 << 20;

  Ref<FixedDirectory> Tree() ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    if (tree_) return tree_;
    tree_ = MakeRef<FixedDirectory>(node());
    Builder builder(*tree_, kFirstIno + 1);
    for (const Sysctl& row : kNetSysctls) {
      Put(builder, std::string(row.directory), row, row.value);
    }
    PutInterfaces("ipv4", kIpv4Conf, builder);
    PutInterfaces("ipv6", kIpv6Conf, builder);
    PutEffective(builder);
    return tree_;
  }

  // Each reader sees those of his own namespace.
  auto Space() const {
    return [k = &kernel_]() -> NetworkNamespace& { return NamespacesOfReader(*k).network(); };
  }

  void Put(Builder& builder, const std::string& directory, const Sysctl& row,
           std::string_view value) {
    const std::string path = absl::StrCat(directory, "/", std::string(row.name));
    builder.Text(
        directory, row.name,
        [path, value, space = Space()] {
          return Result<std::string>(space().sysctls().Get(path, value) + "\n");
        },
        row.mode,
        [path, value, space = Space()](std::string_view text) {
          return StoreWords(space().sysctls(), path, value, text);
        });
  }

  template <size_t N>
  void PutInterfaces(std::string_view family, const Sysctl (&rows)[N], Builder& builder) {
    const std::string conf = std::string(family) + "/conf/";
    for (const Sysctl& row : rows) {
      Put(builder, conf + "lo", row, row.value);
      Put(builder, conf + "all", row, OrdinaryValue(family, row));
      Put(builder, conf + "default", row, OrdinaryValue(family, row));
    }
  }

  void PutEffective(Builder& builder) {
    using Text = Result<std::string>;
    const auto stack = [space = Space()]() -> InetStack& { return space().inet(); };
    builder.Text(
        "ipv4", "ip_local_port_range",
        [stack] {
          return Text(absl::StrCat(stack().first_ephemeral.load(), "\t",
                                   stack().last_ephemeral.load(), "\n"));
        },
        0644, [stack](std::string_view text) { return SetPortRange(stack(), text); });
    builder.Text(
        "ipv4", "ip_unprivileged_port_start",
        [stack] { return Text(absl::StrCat(stack().first_unprivileged.load(), "\n")); }, 0644,
        [stack](std::string_view text) { return SetUnprivilegedStart(stack(), text); });
    builder.Text(
        "ipv4", "ping_group_range",
        [stack] {
          return Text(absl::StrCat(stack().first_ping_group.load(), "\t",
                                   stack().last_ping_group.load(), "\n"));
        },
        0644, [stack](std::string_view text) { return SetPingGroups(stack(), text); });
  }

  Kernel& kernel_;
  absl::Mutex mu_;
  Ref<FixedDirectory> tree_ ABSL_GUARDED_BY(mu_);
};

}  // namespace

void PutNetSysctls(Kernel& kernel, Builder& builder) {
  builder.Put("sys", "net", MakeRef<NetSysctls>(kernel));
}

}  // namespace sentry::proc
