// Statistics of protocols in /proc/PID/net: net/ipv4/proc.c and net/ipv6/proc.c of Linux 6.18.
#include <algorithm>
#include <string>
#include <string_view>

#include "absl/strings/str_format.h"
#include "sentry/fs/proc/task_net.h"

namespace sentry::proc {
namespace {

// A pair of lines: the names, and a number below each.
struct Counters {
  std::string_view prefix, names;
};

constexpr Counters kSnmp[] = {
    {"Ip",
     "Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos "
     "InDiscards InDelivers OutRequests OutDiscards OutNoRoutes ReasmTimeout ReasmReqds ReasmOKs "
     "ReasmFails FragOKs FragFails FragCreates OutTransmits"},
    {"Icmp",
     "InMsgs InErrors InCsumErrors InDestUnreachs InTimeExcds InParmProbs InSrcQuenchs "
     "InRedirects InEchos InEchoReps InTimestamps InTimestampReps InAddrMasks InAddrMaskReps "
     "OutMsgs OutErrors OutRateLimitGlobal OutRateLimitHost OutDestUnreachs OutTimeExcds "
     "OutParmProbs OutSrcQuenchs OutRedirects OutEchos OutEchoReps OutTimestamps OutTimestampReps "
     "OutAddrMasks OutAddrMaskReps"},
    {"Tcp",
     "RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets "
     "CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors"},
    {"Udp",
     "InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors "
     "IgnoredMulti MemErrors"},
    {"UdpLite",
     "InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors "
     "IgnoredMulti MemErrors"},
};
constexpr Counters kNetstat[] = {
    {"TcpExt",
     "SyncookiesSent SyncookiesRecv SyncookiesFailed EmbryonicRsts PruneCalled RcvPruned "
     "OfoPruned OutOfWindowIcmps LockDroppedIcmps ArpFilter TW TWRecycled TWKilled PAWSActive "
     "PAWSEstab BeyondWindow TSEcrRejected PAWSOldAck PAWSTimewait DelayedACKs DelayedACKLocked "
     "DelayedACKLost ListenOverflows ListenDrops TCPHPHits TCPPureAcks TCPHPAcks TCPRenoRecovery "
     "TCPSackRecovery TCPSACKReneging TCPSACKReorder TCPRenoReorder TCPTSReorder TCPFullUndo "
     "TCPPartialUndo TCPDSACKUndo TCPLossUndo TCPLostRetransmit TCPRenoFailures TCPSackFailures "
     "TCPLossFailures TCPFastRetrans TCPSlowStartRetrans TCPTimeouts TCPLossProbes "
     "TCPLossProbeRecovery TCPRenoRecoveryFail TCPSackRecoveryFail TCPRcvCollapsed "
     "TCPBacklogCoalesce TCPDSACKOldSent TCPDSACKOfoSent TCPDSACKRecv TCPDSACKOfoRecv "
     "TCPAbortOnData TCPAbortOnClose TCPAbortOnMemory TCPAbortOnTimeout TCPAbortOnLinger "
     "TCPAbortFailed TCPMemoryPressures TCPMemoryPressuresChrono TCPSACKDiscard "
     "TCPDSACKIgnoredOld TCPDSACKIgnoredNoUndo TCPSpuriousRTOs TCPMD5NotFound TCPMD5Unexpected "
     "TCPMD5Failure TCPSackShifted TCPSackMerged TCPSackShiftFallback TCPBacklogDrop "
     "PFMemallocDrop TCPMinTTLDrop TCPDeferAcceptDrop IPReversePathFilter TCPTimeWaitOverflow "
     "TCPReqQFullDoCookies TCPReqQFullDrop TCPRetransFail TCPRcvCoalesce TCPOFOQueue TCPOFODrop "
     "TCPOFOMerge TCPChallengeACK TCPSYNChallenge TCPFastOpenActive TCPFastOpenActiveFail "
     "TCPFastOpenPassive TCPFastOpenPassiveFail TCPFastOpenListenOverflow TCPFastOpenCookieReqd "
     "TCPFastOpenBlackhole TCPSpuriousRtxHostQueues BusyPollRxPackets TCPAutoCorking "
     "TCPFromZeroWindowAdv TCPToZeroWindowAdv TCPWantZeroWindowAdv TCPSynRetrans TCPOrigDataSent "
     "TCPHystartTrainDetect TCPHystartTrainCwnd TCPHystartDelayDetect TCPHystartDelayCwnd "
     "TCPACKSkippedSynRecv TCPACKSkippedPAWS TCPACKSkippedSeq TCPACKSkippedFinWait2 "
     "TCPACKSkippedTimeWait TCPACKSkippedChallenge TCPWinProbe TCPKeepAlive TCPMTUPFail "
     "TCPMTUPSuccess TCPDelivered TCPDeliveredCE TCPAckCompressed TCPZeroWindowDrop TCPRcvQDrop "
     "TCPWqueueTooBig TCPFastOpenPassiveAltKey TcpTimeoutRehash TcpDuplicateDataRehash "
     "TCPDSACKRecvSegs TCPDSACKIgnoredDubious TCPMigrateReqSuccess TCPMigrateReqFailure "
     "TCPPLBRehash TCPAORequired TCPAOBad TCPAOKeyNotFound TCPAOGood TCPAODroppedIcmps"},
    {"IpExt",
     "InNoRoutes InTruncatedPkts InMcastPkts OutMcastPkts InBcastPkts OutBcastPkts InOctets "
     "OutOctets InMcastOctets OutMcastOctets InBcastOctets OutBcastOctets InCsumErrors "
     "InNoECTPkts InECT1Pkts InECT0Pkts InCEPkts ReasmOverlaps"},
};
constexpr std::string_view kSnmp6 =
    "Ip6InReceives Ip6InHdrErrors Ip6InTooBigErrors Ip6InNoRoutes Ip6InAddrErrors "
    "Ip6InUnknownProtos Ip6InTruncatedPkts Ip6InDiscards Ip6InDelivers Ip6OutForwDatagrams "
    "Ip6OutRequests Ip6OutDiscards Ip6OutNoRoutes Ip6ReasmTimeout Ip6ReasmReqds Ip6ReasmOKs "
    "Ip6ReasmFails Ip6FragOKs Ip6FragFails Ip6FragCreates Ip6InMcastPkts Ip6OutMcastPkts "
    "Ip6InOctets Ip6OutOctets Ip6InMcastOctets Ip6OutMcastOctets Ip6InBcastOctets "
    "Ip6OutBcastOctets Ip6InNoECTPkts Ip6InECT1Pkts Ip6InECT0Pkts Ip6InCEPkts Ip6OutTransmits "
    "Icmp6InMsgs Icmp6InErrors Icmp6OutMsgs Icmp6OutErrors Icmp6InCsumErrors "
    "Icmp6OutRateLimitHost Icmp6InDestUnreachs Icmp6InPktTooBigs Icmp6InTimeExcds "
    "Icmp6InParmProblems Icmp6InEchos Icmp6InEchoReplies Icmp6InGroupMembQueries "
    "Icmp6InGroupMembResponses Icmp6InGroupMembReductions Icmp6InRouterSolicits "
    "Icmp6InRouterAdvertisements Icmp6InNeighborSolicits Icmp6InNeighborAdvertisements "
    "Icmp6InRedirects Icmp6InMLDv2Reports Icmp6OutDestUnreachs Icmp6OutPktTooBigs "
    "Icmp6OutTimeExcds Icmp6OutParmProblems Icmp6OutEchos Icmp6OutEchoReplies "
    "Icmp6OutGroupMembQueries Icmp6OutGroupMembResponses Icmp6OutGroupMembReductions "
    "Icmp6OutRouterSolicits Icmp6OutRouterAdvertisements Icmp6OutNeighborSolicits "
    "Icmp6OutNeighborAdvertisements Icmp6OutRedirects Icmp6OutMLDv2Reports Udp6InDatagrams "
    "Udp6NoPorts Udp6InErrors Udp6OutDatagrams Udp6RcvbufErrors Udp6SndbufErrors "
    "Udp6InCsumErrors Udp6IgnoredMulti Udp6MemErrors UdpLite6InDatagrams UdpLite6NoPorts "
    "UdpLite6InErrors UdpLite6OutDatagrams UdpLite6RcvbufErrors UdpLite6SndbufErrors "
    "UdpLite6InCsumErrors UdpLite6MemErrors";

// Of those that are settings, not counters.
std::string_view ValueOf(std::string_view prefix, std::string_view name) {
  struct Setting {
    std::string_view prefix, name, value;
  };
  constexpr Setting kSettings[] = {{"Ip", "Forwarding", "2"},    {"Ip", "DefaultTTL", "64"},
                                   {"Tcp", "RtoAlgorithm", "1"}, {"Tcp", "RtoMin", "200"},
                                   {"Tcp", "RtoMax", "120000"},  {"Tcp", "MaxConn", "-1"}};
  for (const Setting& setting : kSettings) {
    if (setting.prefix == prefix && setting.name == name) return setting.value;
  }
  return "0";
}

template <typename Visit>
void ForEachWord(std::string_view words, Visit visit) {
  while (!words.empty()) {
    const size_t size = std::min(words.find(' '), words.size());
    visit(words.substr(0, size));
    words.remove_prefix(std::min(size + 1, words.size()));
  }
}

template <size_t N>
std::string Pairs(const Counters (&tables)[N]) {
  std::string text;
  for (const Counters& table : tables) {
    absl::StrAppendFormat(&text, "%s: %s\n%s:", table.prefix, table.names, table.prefix);
    ForEachWord(table.names, [&](std::string_view name) {
      absl::StrAppendFormat(&text, " %s", ValueOf(table.prefix, name));
    });
    text += '\n';
  }
  return text;
}

}  // namespace

std::string SnmpText(NetworkNamespace& space) { return Pairs(kSnmp); }

std::string NetstatText(NetworkNamespace& space) { return Pairs(kNetstat); }

std::string Snmp6Text(NetworkNamespace& space) {
  std::string text;
  ForEachWord(kSnmp6,
              [&](std::string_view name) { absl::StrAppendFormat(&text, "%-32s\t%d\n", name, 0); });
  return text;
}

// net/core/sock.c, proto_seq_printf(): sizes and abilities as Linux has them.
std::string ProtocolsText(NetworkNamespace& space) {
  struct Row {
    std::string_view name;
    int size;
    std::string_view slab, abilities;
  };
  constexpr std::string_view kInet = "y  y  y  n  y  y  y  n  y  y  y  y  n  n  y  y  y  n";
  constexpr std::string_view kTcp = "y  y  y  y  y  y  y  y  y  y  y  y  n  y  y  y  y  y";
  constexpr std::string_view kNone = "n  n  n  n  n  n  n  n  n  n  n  n  n  n  n  n  n  n";
  constexpr std::string_view kCloses = "y  n  n  n  n  n  n  n  n  n  n  n  n  n  n  n  n  n";
  constexpr Row kRows[] = {{"PINGv6", 1344, "yes", kInet},        {"RAWv6", 1344, "yes", kInet},
                           {"UDPv6", 1472, "yes", kInet},         {"TCPv6", 2432, "yes", kTcp},
                           {"UNIX-STREAM", 1152, "yes", kCloses}, {"UNIX", 1152, "yes", kCloses},
                           {"PING", 1016, "yes", kInet},          {"RAW", 1152, "yes", kInet},
                           {"UDP", 1344, "yes", kInet},           {"TCP", 2304, "yes", kTcp},
                           {"NETLINK", 1096, "no", kNone}};
  std::string text =
      "protocol  size sockets  memory press maxhdr  slab module     cl co di ac io in de sh ss gs "
      "se re bi br ha uh gp em\n";
  for (const Row& row : kRows) {
    absl::StrAppendFormat(&text, "%-9s %4d %6d  %6d   %-3s %6d   %-3s  %-10s  %s\n", row.name,
                          row.size, 0, -1, "NI", 0, row.slab, "kernel", row.abilities);
  }
  return text;
}

}  // namespace sentry::proc
