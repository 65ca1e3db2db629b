// Structures of System V IPC and POSIX message queues as the x86-64 kernel lays them out.
#ifndef SYSCALLS_IPC_TYPES_H_
#define SYSCALLS_IPC_TYPES_H_

#include <cstdint>

#include "sentry/ipc/ids.h"
#include "sentry/mm/user_ptr.h"

namespace syscalls::abi {

struct IpcPerm {  // ipc64_perm
  int32_t key = 0;
  uint32_t uid = 0, gid = 0, cuid = 0, cgid = 0, mode = 0;
  uint16_t seq = 0, pad2 = 0;
  uint32_t pad3 = 0;
  uint64_t unused[2] = {};

  static IpcPerm Of(const sentry::IpcPermissions& p) {
    return {.key = p.key,
            .uid = p.uid,
            .gid = p.gid,
            .cuid = p.cuid,
            .cgid = p.cgid,
            .mode = p.mode,
            .seq = p.seq};
  }
};
static_assert(sizeof(IpcPerm) == 48);

struct ShmidDs {
  IpcPerm perm;
  uint64_t size = 0;
  int64_t atime = 0, dtime = 0, ctime = 0;
  int32_t cpid = 0, lpid = 0;
  uint64_t nattch = 0, unused[2] = {};
};
static_assert(sizeof(ShmidDs) == 112);
struct ShmInfo64 {  // IPC_INFO
  uint64_t max = 0, min = 0, mni = 0, seg = 0, all = 0, unused[4] = {};
};
struct ShmInfo {  // SHM_INFO
  int32_t used_ids = 0, pad = 0;
  uint64_t total = 0, resident = 0, swapped = 0, swap_attempts = 0, swap_successes = 0;
};

struct SemidDs {
  IpcPerm perm;
  int64_t otime = 0, otime_high = 0, ctime = 0, ctime_high = 0;
  uint64_t nsems = 0, unused[2] = {};
};
static_assert(sizeof(SemidDs) == 104);
struct Seminfo {
  int32_t map = 0, mni = 0, mns = 0, mnu = 0, msl = 0, opm = 0, ume = 0, usz = 0, vmx = 0, aem = 0;
};
struct Sembuf {
  uint16_t number = 0;
  int16_t change = 0, flags = 0;
};

struct MsqidDs {
  IpcPerm perm;
  int64_t stime = 0, rtime = 0, ctime = 0;
  uint64_t cbytes = 0, qnum = 0, qbytes = 0;
  int32_t lspid = 0, lrpid = 0;
  uint64_t unused[2] = {};
};
static_assert(sizeof(MsqidDs) == 120);
struct Msginfo {
  int32_t pool = 0, map = 0, max = 0, mnb = 0, mni = 0, ssz = 0, tql = 0;
  uint16_t seg = 0, pad = 0;
};
static_assert(sizeof(Msginfo) == 32);

struct MqAttr {
  int64_t flags = 0, maxmsg = 0, msgsize = 0, curmsgs = 0, reserved[4] = {};
};
static_assert(sizeof(MqAttr) == 64);

static_assert(sentry::UserCopyable<ShmidDs> && sentry::UserCopyable<SemidDs> &&
              sentry::UserCopyable<MsqidDs> && sentry::UserCopyable<MqAttr>);

}  // namespace syscalls::abi

#endif  // SYSCALLS_IPC_TYPES_H_
