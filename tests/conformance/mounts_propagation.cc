// Propagation between mounts: Documentation/filesystems/sharedsubtree.rst.
#include "tests/conformance/mount_support.h"

namespace {

class Propagation : public Mounts {
 protected:
  // a is a mount of its own of the given kind, and b a bind mount of it made while it was shared.
  void Pair() {
    CHILD_CHECK(MountTmpfs("a") == 0);
    CHILD_CHECK(mkdir(At("a/sub").c_str(), 0755) == 0);
    CHILD_CHECK(Propagate("a", MS_SHARED) == 0);
    CHILD_CHECK(Bind("a", "b") == 0);
  }
};

TEST_F(Propagation, TypesShowInMountinfo) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    EXPECT_EQ(PropagationOf(At("a")), "private");
    EXPECT_THAT(Propagate("a", MS_SHARED), Returns(0));
    EXPECT_EQ(PropagationOf(At("a")), "shared");
    EXPECT_THAT(Propagate("a", MS_UNBINDABLE), Returns(0));
    EXPECT_EQ(PropagationOf(At("a")), "unbindable");
    EXPECT_THAT(Propagate("a", MS_PRIVATE), Returns(0));
    EXPECT_EQ(PropagationOf(At("a")), "private");
  });
}

TEST_F(Propagation, BadTypes) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    EXPECT_THAT(Propagate("a", MS_SHARED | MS_PRIVATE), FailsWith(EINVAL));
    EXPECT_THAT(Propagate("a", MS_SHARED | MS_NOSUID), FailsWith(EINVAL));
    EXPECT_THAT(Propagate("c", MS_SHARED), FailsWith(EINVAL));
  });
}

TEST_F(Propagation, PeersSeeNewMounts) {
  Inside([&] {
    Pair();
    EXPECT_THAT(MountTmpfs("a/sub"), Returns(0));
    Touch("a/sub/f");
    EXPECT_TRUE(Has("b/sub/f"));
    EXPECT_THAT(umount(At("b/sub").c_str()), Returns(0));
    EXPECT_FALSE(FindMount(At("a/sub")));
  });
}

TEST_F(Propagation, PeersHaveTheSameGroup) {
  Inside([&] {
    Pair();
    EXPECT_EQ(FindMount(At("a"))->fields, FindMount(At("b"))->fields);
    EXPECT_THAT(MountTmpfs("a/sub"), Returns(0));
    EXPECT_EQ(FindMount(At("a/sub"))->fields, FindMount(At("b/sub"))->fields);
    EXPECT_EQ(PropagationOf(At("a/sub")), "shared");
  });
}

TEST_F(Propagation, PrivateMountsHearNothing) {
  Inside([&] {
    Pair();
    EXPECT_THAT(Propagate("b", MS_PRIVATE), Returns(0));
    EXPECT_THAT(MountTmpfs("a/sub"), Returns(0));
    EXPECT_FALSE(FindMount(At("b/sub")));
  });
}

TEST_F(Propagation, SlavesReceiveButDoNotSend) {
  Inside([&] {
    Pair();
    EXPECT_THAT(Propagate("b", MS_SLAVE), Returns(0));
    EXPECT_EQ(PropagationOf(At("b")), "slave");
    EXPECT_THAT(MountTmpfs("a/sub"), Returns(0));
    EXPECT_TRUE(FindMount(At("b/sub")));
    EXPECT_EQ(PropagationOf(At("b/sub")), "slave");
    EXPECT_THAT(umount(At("a/sub").c_str()), Returns(0));
    EXPECT_FALSE(FindMount(At("b/sub")));
    EXPECT_THAT(MountTmpfs("b/sub"), Returns(0));
    EXPECT_FALSE(FindMount(At("a/sub")));
  });
}

TEST_F(Propagation, TheMasterIsNamed) {
  Inside([&] {
    Pair();
    EXPECT_THAT(Propagate("b", MS_SLAVE), Returns(0));
    const std::string group = FindMount(At("a"))->fields.at(0).substr(7);
    EXPECT_EQ(FindMount(At("b"))->fields.at(0), "master:" + group);
  });
}

TEST_F(Propagation, ASlaveCanBeSharedAsWell) {
  Inside([&] {
    Pair();
    EXPECT_THAT(Propagate("b", MS_SLAVE), Returns(0));
    EXPECT_THAT(Propagate("b", MS_SHARED), Returns(0));
    EXPECT_EQ(PropagationOf(At("b")), "shared slave");
    EXPECT_THAT(Bind("b", "c"), Returns(0));
    EXPECT_EQ(PropagationOf(At("c")), "shared slave");
    EXPECT_THAT(MountTmpfs("a/sub"), Returns(0));
    EXPECT_TRUE(FindMount(At("b/sub")));
    EXPECT_TRUE(FindMount(At("c/sub")));
    EXPECT_EQ(PropagationOf(At("c/sub")), "shared slave");
    EXPECT_THAT(umount(At("c/sub").c_str()), Returns(0));
    EXPECT_FALSE(FindMount(At("b/sub")));
    EXPECT_TRUE(FindMount(At("a/sub")));
  });
}

TEST_F(Propagation, TheLastPeerBecomesNoSlave) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    EXPECT_THAT(Propagate("a", MS_SHARED), Returns(0));
    EXPECT_THAT(Propagate("a", MS_SLAVE), Returns(0));
    EXPECT_EQ(PropagationOf(At("a")), "private");
  });
}

TEST_F(Propagation, SlavesAreInherited) {
  Inside([&] {
    Pair();
    EXPECT_THAT(Propagate("b", MS_SLAVE), Returns(0));
    EXPECT_THAT(Propagate("b", MS_SHARED), Returns(0));
    EXPECT_THAT(Bind("b", "c"), Returns(0));
    EXPECT_THAT(Propagate("c", MS_SLAVE), Returns(0));
    // The one in the middle goes: c receives from a.
    EXPECT_THAT(umount(At("b").c_str()), Returns(0));
    EXPECT_THAT(MountTmpfs("a/sub"), Returns(0));
    EXPECT_TRUE(FindMount(At("c/sub")));
  });
}

TEST_F(Propagation, UnbindableMountsCannotBeBound) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    EXPECT_THAT(Propagate("a", MS_UNBINDABLE), Returns(0));
    EXPECT_THAT(Bind("a", "b"), FailsWith(EINVAL));
  });
}

TEST_F(Propagation, UnbindableMountsAreLeftOut) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    EXPECT_THAT(mkdir(At("a/sub").c_str(), 0755), Returns(0));
    EXPECT_THAT(MountTmpfs("a/sub"), Returns(0));
    EXPECT_THAT(Propagate("a/sub", MS_UNBINDABLE), Returns(0));
    EXPECT_THAT(Bind("a", "b", MS_REC), Returns(0));
    EXPECT_FALSE(FindMount(At("b/sub")));
  });
}

TEST_F(Propagation, MovesFromASharedParentAreRefused) {
  Inside([&] {
    Pair();
    EXPECT_THAT(MountTmpfs("a/sub"), Returns(0));
    EXPECT_THAT(mount(At("a/sub").c_str(), At("c").c_str(), nullptr, MS_MOVE, nullptr),
                FailsWith(EINVAL));
  });
}

TEST_F(Propagation, MovesIntoASharedMountPropagate) {
  Inside([&] {
    Pair();
    EXPECT_THAT(MountTmpfs("c"), Returns(0));
    Touch("c/f");
    EXPECT_THAT(mount(At("c").c_str(), At("a/sub").c_str(), nullptr, MS_MOVE, nullptr), Returns(0));
    EXPECT_TRUE(Has("b/sub/f"));
    EXPECT_EQ(PropagationOf(At("a/sub")), "shared");
  });
}

TEST_F(Propagation, AnUnbindableMountCannotBeMovedIntoAShared) {
  Inside([&] {
    Pair();
    EXPECT_THAT(MountTmpfs("c"), Returns(0));
    EXPECT_THAT(Propagate("c", MS_UNBINDABLE), Returns(0));
    EXPECT_THAT(mount(At("c").c_str(), At("a/sub").c_str(), nullptr, MS_MOVE, nullptr),
                FailsWith(EINVAL));
    EXPECT_TRUE(FindMount(At("c")));
  });
}

TEST_F(Propagation, RecursiveChanges) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    EXPECT_THAT(mkdir(At("a/sub").c_str(), 0755), Returns(0));
    EXPECT_THAT(MountTmpfs("a/sub"), Returns(0));
    EXPECT_THAT(Propagate("a", MS_SHARED | MS_REC), Returns(0));
    EXPECT_EQ(PropagationOf(At("a/sub")), "shared");
    EXPECT_THAT(Propagate("a", MS_PRIVATE), Returns(0));
    EXPECT_EQ(PropagationOf(At("a")), "private");
    EXPECT_EQ(PropagationOf(At("a/sub")), "shared");
  });
}

TEST_F(Propagation, OnlyWhatShowsThePlaceReceives) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    for (const char* name : {"a/one", "a/two"}) {
      EXPECT_THAT(mkdir(At(name).c_str(), 0755), Returns(0));
    }
    EXPECT_THAT(Propagate("a", MS_SHARED), Returns(0));
    EXPECT_THAT(Bind("a/one", "b"), Returns(0));
    EXPECT_THAT(MountTmpfs("a/two"), Returns(0));
    EXPECT_EQ(MountLines().back().point, At("a/two"));
    EXPECT_THAT(mkdir(At("a/one/deep").c_str(), 0755), Returns(0));
    EXPECT_THAT(MountTmpfs("a/one/deep"), Returns(0));
    EXPECT_TRUE(FindMount(At("b/deep")));
  });
}

TEST_F(Propagation, ACopyWithMountsOnItStays) {
  Inside([&] {
    Pair();
    EXPECT_THAT(MountTmpfs("a/sub"), Returns(0));
    EXPECT_THAT(Propagate("b/sub", MS_PRIVATE), Returns(0));
    EXPECT_THAT(mkdir(At("b/sub/own").c_str(), 0755), Returns(0));
    EXPECT_THAT(MountTmpfs("b/sub/own"), Returns(0));
    EXPECT_THAT(umount(At("a/sub").c_str()), Returns(0));
    EXPECT_FALSE(FindMount(At("a/sub")));
    EXPECT_TRUE(FindMount(At("b/sub/own")));
  });
}

TEST_F(Propagation, AcrossNamespaces) {
  Inside([&] {
    Pair();
    Pipe ready, go;
    const pid_t child = Start([&] {
      CHILD_CHECK(unshare(CLONE_NEWNS) == 0);
      CHILD_CHECK(Post(ready.write.get()) && Await(go.read.get()));
      CHILD_CHECK(FindMount(At("a/sub")).has_value());
      CHILD_CHECK(FindMount(At("b/sub")).has_value());
      CHILD_CHECK(umount(At("b/sub").c_str()) == 0);
      return 0;
    });
    EXPECT_TRUE(Await(ready.read.get()));
    EXPECT_THAT(MountTmpfs("a/sub"), Returns(0));
    EXPECT_TRUE(Post(go.write.get()));
    EXPECT_THAT(Wait(child), Exited(0));
    EXPECT_FALSE(FindMount(At("a/sub")));
  });
}

TEST_F(Propagation, AManyfoldChainIsNoProblem) {
  Inside([&] {
    EXPECT_THAT(MountTmpfs("a"), Returns(0));
    EXPECT_THAT(mkdir(At("a/sub").c_str(), 0755), Returns(0));
    std::string last = "a";
    EXPECT_THAT(Propagate("a", MS_SHARED), Returns(0));
    for (int i = 0; i < 100; ++i) {
      const std::string name = "m" + std::to_string(i);
      ASSERT_THAT(mkdir(At(name).c_str(), 0755), Returns(0));
      ASSERT_THAT(Bind(last, name), Returns(0));
      ASSERT_THAT(Propagate(name, MS_SLAVE), Returns(0));
      ASSERT_THAT(Propagate(name, MS_SHARED), Returns(0));
      last = name;
    }
    EXPECT_THAT(MountTmpfs("a/sub"), Returns(0));
    EXPECT_TRUE(FindMount(At("m99/sub")));
    EXPECT_THAT(umount(At("a/sub").c_str()), Returns(0));
    EXPECT_FALSE(FindMount(At("m99/sub")));
  });
}

}  // namespace
