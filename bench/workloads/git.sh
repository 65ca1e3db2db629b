# needs: git
# group: builds
for ((i = 0; i < 500; i++)); do
  ((i % 50)) || mkdir d$((i / 50))
  printf 'file %d\n' $i > d$((i / 50))/f$i
done
export HOME=$PWD GIT_CONFIG_NOSYSTEM=1
start
git init -q .
git add .
git -c user.name=n -c user.email=e@example.org commit -qm one
git status --short > status
git gc -q
git clone -q . copy
stop
