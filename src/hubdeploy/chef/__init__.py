"""The Chef server's API: PyChef's objects over a transport of today.

Use :class:`hubdeploy.chef.server.ChefServer`; :mod:`hubdeploy.chef.cookbooks` packages and uploads
cookbooks, :mod:`hubdeploy.chef.runlist` expands run lists. Nothing else imports PyChef.
"""
