// Sockets that were sent in messages which nobody can receive any more: unix(7),
// net/unix/garbage.c.
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "sentry/net/unix/unix_socket.h"
#include "sentry/net/unix/unix_sockets.h"

namespace sentry {
namespace {

// The files in one end's queues, and the ends that wait there to be accepted.
struct Contents {
  std::vector<const File*> files;
  std::vector<Ref<UnixEnd>> pending;
};

Contents Look(UnixEnd& end) {
  Contents contents;
  const auto add = [&](const FileRights& rights) {
    for (const Ref<File>& file : rights.files()) contents.files.push_back(file.get());
  };
  Ref<ByteStream> in;
  {
    absl::MutexLock lock(&end.mu);
    for (const UnixEnd::Message& message : end.messages) add(message.control.rights);
    contents.pending.assign(end.pending.begin(), end.pending.end());
    in = end.in;
  }
  if (in) in->VisitRights(add);
  return contents;
}

std::vector<FileRights> TakeAll(UnixEnd& end) {
  std::vector<FileRights> taken;
  Ref<ByteStream> in;
  {
    absl::MutexLock lock(&end.mu);
    in = end.in;
    for (UnixEnd::Message& message : end.messages) {
      taken.push_back(std::move(message.control.rights));
    }
  }
  if (in) {
    for (FileRights& rights : in->TakeRights()) taken.push_back(std::move(rights));
  }
  return taken;
}

// What one look at everything shows.
struct Survey {
  std::vector<Ref<UnixEnd>> ends;
  std::vector<UnixSocket*> sockets;  // Of `ends`; nullptr where there is none.
  absl::flat_hash_map<const UnixEnd*, Contents> contents;
  absl::flat_hash_map<const File*, uint32_t> in_flight;
  absl::flat_hash_map<const File*, UnixEnd*> end_of;
};

// The ends that a descriptor of some process leads to, over any number of queues.
absl::flat_hash_set<const UnixEnd*> Reachable(const Survey& survey,
                                              const std::vector<UnixEnd*>& roots) {
  absl::flat_hash_set<const UnixEnd*> seen(roots.begin(), roots.end());
  std::vector<const UnixEnd*> todo(roots.begin(), roots.end());
  const auto visit = [&](const UnixEnd* end) {
    if (seen.insert(end).second) todo.push_back(end);
  };
  while (!todo.empty()) {
    const auto found = survey.contents.find(todo.back());
    todo.pop_back();
    if (found == survey.contents.end()) continue;
    for (const File* file : found->second.files) {
      if (const auto it = survey.end_of.find(file); it != survey.end_of.end()) visit(it->second);
    }
    for (const Ref<UnixEnd>& end : found->second.pending) visit(end.get());
  }
  return seen;
}

}  // namespace

void UnixSockets::CollectGarbage() {
  if (sent_sockets_.load(std::memory_order_relaxed) == 0) return;
  std::vector<FileRights> garbage;  // Closed last, with no lock held.
  absl::MutexLock collecting(&collecting_mu_);
  const uint64_t moves = FileRights::moves();
  Survey survey;
  {
    absl::MutexLock lock(&mu_);
    // A look at everything for each close would be dear among many sockets.
    if (++closes_ < ends_.size() / 16) return;
    for (UnixEnd* end : ends_) {
      if (!end->TryAddRef()) continue;
      survey.ends.push_back(Ref<UnixEnd>::Adopt(end));
      survey.sockets.push_back(end->socket);
      if (end->socket != nullptr) survey.end_of[end->socket] = end;
    }
    closes_ = 0;
    const uint32_t sent = sent_sockets_.load();
    uint32_t found = 0;
    for (const Ref<UnixEnd>& end : survey.ends) {
      Contents& contents = survey.contents[end.get()] = Look(*end);
      for (const File* file : contents.files) {
        if (survey.end_of.contains(file)) ++survey.in_flight[file], ++found;
      }
    }
    std::vector<UnixEnd*> roots;
    for (size_t i = 0; i < survey.ends.size(); ++i) {
      const UnixSocket* const socket = survey.sockets[i];
      // An end without a socket waits to be accepted: its listener leads to it.
      if (socket == nullptr) continue;
      const auto it = survey.in_flight.find(socket);
      if (it == survey.in_flight.end() || socket->descriptors() > it->second) {
        roots.push_back(survey.ends[i].get());
      }
    }
    // Something was received meanwhile, so that what was counted is not what is: another time.
    if (FileRights::moves() != moves) return;
    sent_sockets_.fetch_sub(sent - std::min(sent, found));
    const auto reachable = Reachable(survey, roots);
    for (const Ref<UnixEnd>& end : survey.ends) {
      const auto& files = survey.contents[end.get()].files;
      if (files.empty() || reachable.contains(end.get())) continue;
      for (FileRights& rights : TakeAll(*end)) garbage.push_back(std::move(rights));
    }
  }
}

}  // namespace sentry
