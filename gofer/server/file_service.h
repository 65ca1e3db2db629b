// The operations of the protocol on host files.
#ifndef GOFER_SERVER_FILE_SERVICE_H_
#define GOFER_SERVER_FILE_SERVICE_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "gofer/protocol/messages.h"
#include "gofer/server/export.h"
#include "gofer/server/node_table.h"

namespace gofer {

// Owned by the server's only thread. Its working directory must be /proc/self/fd.
class FileService {
 public:
  // Call once, first.
  Status Init(std::vector<Export> exports, const Policy& policy, uint32_t node_limit);

  // Executes `request` whose payload is `in`: a private copy, both unchecked, with one writable
  // byte behind it. `out` is the slot's payload, which the sentry can change at any time: it is
  // only written. A descriptor for the sentry comes in `fd`.
  void Handle(const Request& request, std::span<char> in, std::span<std::byte> out,
              Response& response, UniqueFd& fd);

  void Forget(NodeId id) { nodes_.Forget(id); }

 private:
  // A request whose names and node have been checked.
  struct Operation {
    const Request& request;
    Node* node = nullptr;
    const char* names[kMaxWalk] = {};
    std::string_view value;  // What follows the names.
    std::span<std::byte> out;
    Response& response;
    UniqueFd& fd;
  };
  using Handler = Status (FileService::*)(Operation&);
  enum class Access : uint8_t { kRead, kWrite };
  // What Handle checks before the handler runs.
  struct Row {
    Handler handler = nullptr;
    Access access = Access::kRead;  // kWrite: refused in a read-only export.
    uint8_t min_names = 0;
    uint8_t max_names = 0;
    uint8_t components = 0;     // So many names, from the first, are single path components.
    bool in_directory = false;  // The node is a directory.
  };
  static const Row kRows[kOpCount];

  Status Dispatch(const Request& request, std::span<char> in, std::span<std::byte> out,
                  Response& response, UniqueFd& fd);
  static Status ParseNames(const Row& row, std::span<char> in, Operation& op);
  bool Writable(const Node& node) const { return writable_[node.export_index]; }
  // Where nothing changes but by the host's doing.
  bool KeepsNames(const Node& node) const { return !Writable(node); }
  bool IsFilestore(const Node& node) const { return filestore_[node.export_index]; }
  // The directory `node2` of an operation on two nodes: both in one writable export.
  Result<Node*> SecondDirectory(const Operation& op) const;
  // The node of an operation, with a descriptor: by its name, if it has lost its own. ESTALE when
  // that is another file.
  Result<Node*> Reach(NodeId id);
  // Adds a node for the file `name` in a directory; to be found by name again if `parent_id` is
  // given.
  Result<WalkedNode> AddChild(const Node& parent, const char* name,
                              NodeId parent_id = NodeId::kNone);
  // Adds a node for an open file.
  Result<WalkedNode> AddOpened(const Node& parent, int fd);
  // Gives a new file its owner and answers with its node; removes it again on failure.
  Status AnswerNewFile(Operation& op, Result<WalkedNode> made, int remove_flags);

  // file_service.cc
  Status Walk(Operation& op);
  Status GetAttr(Operation& op);
  Status Open(Operation& op);
  Status ReadLink(Operation& op);
  Status StatFs(Operation& op);
  Status Sync(Operation& op);
  Status GetXattr(Operation& op);
  Status ListXattr(Operation& op);
  Status ForgetMany(Operation& op);
  Status NewUnnamed(Operation& op);
  // sockets.cc
  Status Connect(Operation& op);
  Status Bind(Operation& op);
  // read_dir.cc
  Status ReadDir(Operation& op);
  Status FinishReadDir(Operation& op, UniqueFd opened, uint64_t position, bool at_end);
  // mutations.cc
  Status SetAttr(Operation& op);
  Status Create(Operation& op);
  Status Mkdir(Operation& op);
  Status Mknod(Operation& op);
  Status Symlink(Operation& op);
  Status Link(Operation& op);
  Status Unlink(Operation& op);
  Status Rename(Operation& op);
  Status SetXattr(Operation& op);
  Status RemoveXattr(Operation& op);

  Policy policy_;
  std::vector<bool> writable_;   // By export.
  std::vector<bool> filestore_;  // Likewise.
  NodeTable nodes_;
};

}  // namespace gofer

#endif  // GOFER_SERVER_FILE_SERVICE_H_
