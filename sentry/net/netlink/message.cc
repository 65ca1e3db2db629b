#include "sentry/net/netlink/message.h"

namespace sentry {
namespace {

std::string Message(const NlRequest& request, uint16_t type, uint16_t flags,
                    std::string_view payload) {
  const nlmsghdr header{
      .nlmsg_len = static_cast<uint32_t>(sizeof(nlmsghdr) + payload.size()),
      .nlmsg_type = type,
      .nlmsg_flags = flags,
      .nlmsg_seq = request.header.nlmsg_seq,
      .nlmsg_pid = request.port,
  };
  std::string bytes(NlBytes(header));
  bytes.append(payload);
  bytes.resize(NlPad(bytes.size()));
  return bytes;
}

}  // namespace

void NlReply::Add(uint16_t type, std::string_view payload, uint16_t flags) {
  std::string message = Message(request_, type, flags, payload);
  const bool joins = (flags & NLM_F_MULTI) != 0 && !datagrams_.empty() &&
                     datagrams_.back().size() + message.size() <= kDatagram;
  if (joins) {
    datagrams_.back().append(message);
  } else {
    datagrams_.push_back(std::move(message));
  }
}

void NlReply::Done(int error) { Add(NLMSG_DONE, NlBytes(error), NLM_F_MULTI); }

std::string NlError(const NlRequest& request, int error, bool capped, std::string_view words) {
  uint16_t flags = 0;
  std::string payload(NlBytes(error));
  payload.append(NlBytes(request.header));
  // netlink_ack() of Linux.
  if (error != 0 && !capped) {
    payload.append(request.payload);
    payload.resize(NlPad(payload.size()));
  } else {
    flags |= NLM_F_CAPPED;
  }
  if (!words.empty()) {
    flags |= NLM_F_ACK_TLVS;
    NlPayload attribute;
    attribute.PutString(NLMSGERR_ATTR_MSG, std::string(words));
    payload.append(attribute.bytes());
  }
  return Message(request, NLMSG_ERROR, flags, payload);
}

}  // namespace sentry
