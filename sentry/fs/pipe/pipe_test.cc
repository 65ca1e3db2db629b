#include "sentry/fs/pipe/pipe.h"

#include <gtest/gtest.h>

#include <string>

#include "sentry/fs/anon/anon_inode.h"
#include "sentry/fs/pipe/fifo.h"

namespace sentry {
namespace {

struct Ends {
  Ref<File> reader, writer;
  Pipe& pipe() { return FileCast<PipeFile>(*reader)->pipe(); }
};

Ends NewPipe(uint32_t flags = 0) {
  auto ends = CreatePipe(OpenFlags(flags));
  EXPECT_TRUE(ends.ok());
  return {ends->first, ends->second};
}

Result<size_t> Write(File& file, std::string_view text) {
  IoSrc src(std::as_bytes(std::span(text)));
  return file.Write(src);
}

// What a read of `size` bytes gives; "!N" for errno N.
std::string Read(File& file, size_t size) {
  std::string text(size, '\0');
  IoDst dst(std::as_writable_bytes(std::span(text)));
  const auto count = file.Read(dst);
  if (!count.ok()) return "!" + std::to_string(count.error().code());
  text.resize(*count);
  return text;
}

const std::string kEagain = "!" + std::to_string(EAGAIN);

class EventCounter final : public WaitListener {
 public:
  void OnReady(uint32_t events) override { seen |= events, ++calls; }
  uint32_t seen = 0;
  int calls = 0;
};

TEST(Pipe, BytesComeOutInOrder) {
  Ends p = NewPipe();
  EXPECT_EQ(*Write(*p.writer, "hello "), 6u);
  EXPECT_EQ(*Write(*p.writer, "world"), 5u);
  EXPECT_EQ(p.pipe().ReadableBytes(), 11u);
  EXPECT_EQ(Read(*p.reader, 4), "hell");
  EXPECT_EQ(Read(*p.reader, 100), "o world");
  EXPECT_EQ(Read(*p.reader, 100), kEagain);
}

TEST(Pipe, EndOfStreamAndBrokenPipe) {
  Ends p = NewPipe();
  EXPECT_EQ(*Write(*p.writer, "x"), 1u);
  p.writer = nullptr;
  EXPECT_EQ(p.reader->Poll() & (POLLIN | POLLHUP), uint32_t{POLLIN | POLLHUP});
  EXPECT_EQ(Read(*p.reader, 10), "x");
  EXPECT_EQ(Read(*p.reader, 10), "");

  Ends q = NewPipe();
  q.reader = nullptr;
  EXPECT_EQ(Write(*q.writer, "x").error(), Errno(EPIPE));
  EXPECT_TRUE(Write(*q.writer, "").ok());
  EXPECT_EQ(q.writer->Poll() & POLLERR, uint32_t{POLLERR});
}

TEST(Pipe, ClosesOnceAtTheLastDescriptor) {
  Ends p = NewPipe();
  p.writer->AddDescriptor();
  p.writer->AddDescriptor();
  p.writer->DropDescriptor();
  EXPECT_EQ(Read(*p.reader, 1), kEagain);
  p.writer->DropDescriptor();
  EXPECT_EQ(Read(*p.reader, 1), "");
  p.writer = nullptr;
  EXPECT_EQ(p.pipe().counters().writers, 0u);
}

TEST(Pipe, SmallWritesAreAllOrNothing) {
  Ends p = NewPipe();
  const std::string big(kPipeDefaultCapacity - 100, 'a');
  EXPECT_EQ(*Write(*p.writer, big), big.size());
  EXPECT_EQ(Write(*p.writer, std::string(200, 'b')).error(), Errno(EAGAIN));
  EXPECT_EQ(*Write(*p.writer, std::string(100, 'b')), 100u);
  EXPECT_EQ(Write(*p.writer, "c").error(), Errno(EAGAIN));
  EXPECT_EQ(p.writer->Poll() & POLLOUT, 0u);
}

TEST(Pipe, LargeWritesTakeWhatFits) {
  Ends p = NewPipe();
  const std::string big(kPipeDefaultCapacity + 5000, 'a');
  IoSrc src(std::as_bytes(std::span(big)));
  EXPECT_EQ(*p.writer->Write(src), kPipeDefaultCapacity);
  EXPECT_EQ(src.remaining(), 5000u);
  EXPECT_EQ(p.writer->Write(src).error(), Errno(EAGAIN));
  EXPECT_EQ(Read(*p.reader, kPipePage).size(), kPipePage);
  EXPECT_EQ(*p.writer->Write(src), kPipePage);
}

TEST(Pipe, PacketsKeepTheirBounds) {
  Ends p = NewPipe(O_DIRECT);
  EXPECT_EQ(*Write(*p.writer, "first"), 5u);
  EXPECT_EQ(*Write(*p.writer, "second"), 6u);
  EXPECT_EQ(Read(*p.reader, 3), "fir");  // The rest of the packet is lost.
  EXPECT_EQ(Read(*p.reader, 100), "second");
  EXPECT_EQ(p.pipe().ReadableBytes(), 0u);
}

TEST(Pipe, Capacity) {
  Ends p = NewPipe();
  EXPECT_EQ(p.pipe().capacity(), kPipeDefaultCapacity);
  EXPECT_EQ(*p.pipe().SetCapacity(1), kPipePage);
  EXPECT_EQ(*p.pipe().SetCapacity(5000), 2 * kPipePage);
  EXPECT_EQ(p.pipe().SetCapacity(kPipeMaxCapacity + 1).error(), Errno(EPERM));
  EXPECT_EQ(*Write(*p.writer, std::string(2 * kPipePage, 'a')), 2 * kPipePage);
  EXPECT_EQ(p.pipe().SetCapacity(kPipePage).error(), Errno(EBUSY));
  EXPECT_FALSE(CreatePipe(OpenFlags(O_APPEND)).ok());
}

TEST(Pipe, TellsWhoeverWaits) {
  Ends p = NewPipe();
  EventCounter reader;
  p.reader->wait_queue()->Add(reader, POLLIN);
  EXPECT_TRUE(Write(*p.writer, "x").ok());
  EXPECT_EQ(reader.seen & POLLIN, uint32_t{POLLIN});
  p.writer = nullptr;
  EXPECT_EQ(reader.seen & POLLHUP, uint32_t{POLLHUP});
  p.reader->wait_queue()->Remove(reader);
}

TEST(Pipe, CanBeOpenedAgainThroughItsInode) {
  Ends p = NewPipe();
  auto again = p.writer->inode().Open(OpenFlags(O_WRONLY));
  ASSERT_TRUE(again.ok());
  p.writer = nullptr;
  EXPECT_EQ(*Write(**again, "x"), 1u);
  EXPECT_EQ(Read(*p.reader, 10), "x");
  EXPECT_EQ(Read(*p.reader, 10), kEagain);
}

class Fifo : public testing::Test {
 protected:
  Result<Ref<File>> Open(uint32_t flags) { return OpenFifo(*inode_, OpenFlags(flags)); }
  const Ref<Inode> inode_ = MakeRef<AnonInode>(AnonInode::kPipeDevice, S_IFIFO | 0600);
};

TEST_F(Fifo, ReaderWaitsForAWriter) {
  const auto reader = Open(O_RDONLY);
  ASSERT_TRUE(reader.ok());
  EXPECT_EQ((*reader)->FinishOpen().error(), Errno(EAGAIN));
  EventCounter waiting;
  (*reader)->wait_queue()->Add(waiting, POLLIN | POLLOUT);
  {
    const auto writer = Open(O_WRONLY);
    ASSERT_TRUE(writer.ok());
    EXPECT_TRUE((*writer)->FinishOpen().ok());
  }
  // A writer that came and went has been one.
  EXPECT_GT(waiting.calls, 0);
  EXPECT_TRUE((*reader)->FinishOpen().ok());
  (*reader)->wait_queue()->Remove(waiting);
}

TEST_F(Fifo, NonblockingOpens) {
  EXPECT_EQ(Open(O_WRONLY | O_NONBLOCK).error(), Errno(ENXIO));
  const auto reader = Open(O_RDONLY | O_NONBLOCK);
  ASSERT_TRUE(reader.ok());
  EXPECT_TRUE((*reader)->FinishOpen().ok());
  EXPECT_EQ((*reader)->Poll() & POLLHUP, 0u);  // No writer yet is not a hang-up.
  EXPECT_EQ(Read(**reader, 1), "");
  { EXPECT_TRUE(Open(O_WRONLY | O_NONBLOCK).ok()); }
  EXPECT_EQ((*reader)->Poll() & POLLHUP, uint32_t{POLLHUP});
}

TEST_F(Fifo, ForgetsItsBytesWithTheLastEnd) {
  {
    const auto both = Open(O_RDWR);
    ASSERT_TRUE(both.ok());
    EXPECT_TRUE((*both)->FinishOpen().ok());
    EXPECT_EQ(*Write(**both, "x"), 1u);
  }
  const auto both = Open(O_RDWR);
  EXPECT_EQ(Read(**both, 1), kEagain);
}

}  // namespace
}  // namespace sentry
