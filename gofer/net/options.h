// The socket options that the network gofer passes on.
#ifndef GOFER_NET_OPTIONS_H_
#define GOFER_NET_OPTIONS_H_

#include <cstddef>

namespace gofer {

// Whether getsockopt(2), or setsockopt(2) with a value of `size` bytes, is passed on: what changes
// one socket and takes values. What installs programs, names other namespaces or builds packets by
// hand is not.
bool MayGetOption(int level, int name);
// Of an option whose value says on its way in how many entries there is room for, behind `header`
// bytes that end in that number; header 0 for others. The kernel believes the number.
struct EntryList {
  size_t header = 0, entry = 0;
};
EntryList EntriesOf(int level, int name);
// 0, ENOPROTOOPT, or EINVAL for a value that is too short.
int MaySetOption(int level, int name, size_t size);

}  // namespace gofer

#endif  // GOFER_NET_OPTIONS_H_
