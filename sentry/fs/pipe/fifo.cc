#include "sentry/fs/pipe/fifo.h"

#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "sentry/fs/pipe/pipe.h"

namespace sentry {
namespace {

class FifoPipe;

// Which fifo has which pipe, as long as somebody has it open. Holds nothing itself: the open files
// hold the inode and the pipe, and a pipe takes itself out.
struct FifoTable {
  absl::Mutex mu;  // Leaf.
  absl::flat_hash_map<const Inode*, FifoPipe*> pipes ABSL_GUARDED_BY(mu);

  static FifoTable& Get() {
    static auto* const table = new FifoTable;  // Never destroyed: files may outlive main.
    return *table;
  }
};

class FifoPipe final : public Pipe {
 public:
  explicit FifoPipe(Ref<Inode> inode) : inode_(std::move(inode)) {}
  ~FifoPipe() override {
    FifoTable& table = FifoTable::Get();
    absl::MutexLock lock(&table.mu);
    const auto it = table.pipes.find(inode_.get());
    if (it != table.pipes.end() && it->second == this) table.pipes.erase(it);
  }

 private:
  const Ref<Inode> inode_;  // Keeps the table's key from being used again.
};

Ref<Pipe> PipeOf(Inode& inode) {
  FifoTable& table = FifoTable::Get();
  absl::MutexLock lock(&table.mu);
  FifoPipe*& entry = table.pipes[&inode];
  // One whose last reference is just going cannot be taken; its destructor leaves the new one alone.
  if (entry == nullptr || !entry->TryAddRef()) {
    entry = MakeRef<FifoPipe>(Ref<Inode>::Share(inode)).Leak();
  }
  return Ref<Pipe>::Adopt(entry);
}

}  // namespace

Result<Ref<File>> OpenFifo(Inode& inode, OpenFlags flags) {
  Ref<Pipe> pipe = PipeOf(inode);
  const Pipe::Counters before = pipe->counters();
  PipeFile::FifoOpen wait;
  if (flags.readable() && !flags.writable() && before.writers == 0) {
    if (flags.has(O_NONBLOCK)) {
      wait.quiet_writer_opens = before.writer_opens;
    } else {
      wait.past_writer_opens = before.writer_opens;
    }
  }
  if (flags.writable() && !flags.readable() && before.readers == 0) {
    if (flags.has(O_NONBLOCK)) return Errno(ENXIO);
    wait.past_reader_opens = before.reader_opens;
  }
  return Ref<File>(MakeRef<PipeFile>(Ref<Inode>::Share(inode), std::move(pipe), flags, wait));
}

}  // namespace sentry
