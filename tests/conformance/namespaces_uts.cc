// UTS namespaces: uts_namespaces(7).
#include <sys/utsname.h>

#include "tests/conformance/namespaces_support.h"

namespace {

std::string HostName() {
  utsname names = {};
  EXPECT_THAT(uname(&names), Returns(0));
  return names.nodename;
}

std::string DomainName() {
  utsname names = {};
  EXPECT_THAT(uname(&names), Returns(0));
  return names.domainname;
}

TEST(UtsNamespaces, BeginsAsACopy) {
  const std::string host = HostName(), domain = DomainName();
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(unshare(CLONE_NEWUTS) == 0);
                CHILD_CHECK(HostName() == host && DomainName() == domain);
                return 0;
              }),
              Exited(0));
}

TEST(UtsNamespaces, NamesStayInside) {
  const std::string host = HostName(), domain = DomainName();
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(unshare(CLONE_NEWUTS) == 0);
                CHILD_CHECK(sethostname("inside", 6) == 0);
                CHILD_CHECK(setdomainname("example.org", 11) == 0);
                CHILD_CHECK(HostName() == "inside" && DomainName() == "example.org");
                CHILD_CHECK(InChild([] { return HostName() == "inside" ? 0 : 1; }) == 0);
                return 0;
              }),
              Exited(0));
  EXPECT_EQ(HostName(), host);
  EXPECT_EQ(DomainName(), domain);
}

TEST(UtsNamespaces, ProcShowsTheReadersOwn) {
  const std::string host = ReadFile("/proc/sys/kernel/hostname");
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(unshare(CLONE_NEWUTS) == 0);
                CHILD_CHECK(ReadFile("/proc/sys/kernel/hostname") == host);
                CHILD_CHECK(sethostname("shown", 5) == 0);
                CHILD_CHECK(ReadFile("/proc/sys/kernel/hostname") == "shown\n");
                CHILD_CHECK(setdomainname("d", 1) == 0);
                CHILD_CHECK(ReadFile("/proc/sys/kernel/domainname") == "d\n");
                return 0;
              }),
              Exited(0));
  EXPECT_EQ(ReadFile("/proc/sys/kernel/hostname"), host);
}

TEST(UtsNamespaces, ProcChangesTheWritersOwn) {
  const std::string host = HostName();
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(unshare(CLONE_NEWUTS) == 0);
                UniqueFd fd(open("/proc/sys/kernel/hostname", O_WRONLY));
                // Natively /proc/sys may be read-only.
                if (!fd.valid()) return errno == EROFS ? 0 : 1;
                CHILD_CHECK(write(fd.get(), "written", 7) == 7);
                CHILD_CHECK(HostName() == "written");
                return 0;
              }),
              Exited(0));
  EXPECT_EQ(HostName(), host);
}

TEST(UtsNamespaces, SiblingsShareOne) {
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(unshare(CLONE_NEWUTS) == 0);
                CHILD_CHECK(InChild([] { return sethostname("of a child", 10); }) == 0);
                CHILD_CHECK(HostName() == "of a child");
                return 0;
              }),
              Exited(0));
}

TEST(UtsNamespaces, ACloneBeginsWithTheParentsNames) {
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(unshare(CLONE_NEWUTS) == 0);
                CHILD_CHECK(sethostname("parent", 6) == 0);
                const pid_t child = CloneWith(CLONE_NEWUTS, [] {
                  CHILD_CHECK(HostName() == "parent");
                  return sethostname("child", 5);
                });
                CHILD_CHECK(Wait(child) == 0);
                CHILD_CHECK(HostName() == "parent");
                return 0;
              }),
              Exited(0));
}

TEST(UtsNamespaces, SetnsShowsTheOthersNames) {
  EXPECT_THAT(InChild([&] {
                Pipe ready, go;
                const pid_t other = Start([&] {
                  CHILD_CHECK(unshare(CLONE_NEWUTS) == 0);
                  CHILD_CHECK(sethostname("other", 5) == 0);
                  CHILD_CHECK(Post(ready.write.get()) && Await(go.read.get()));
                  CHILD_CHECK(HostName() == "changed");
                  return 0;
                });
                CHILD_CHECK(Await(ready.read.get()));
                const UniqueFd fd = OpenNamespace("uts", std::to_string(other));
                CHILD_CHECK(setns(fd.get(), CLONE_NEWUTS) == 0);
                CHILD_CHECK(HostName() == "other");
                CHILD_CHECK(sethostname("changed", 7) == 0);
                Post(go.write.get());
                CHILD_CHECK(Wait(other) == 0);
                return 0;
              }),
              Exited(0));
}

}  // namespace
